//! `lockbridge reload`: the running daemon reads its policy anew, and says whether it holds.

use std::path::Path;
use std::process::ExitCode;

use super::{Failure, Output, ask};
use crate::control::Request;

pub(super) async fn run(socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let read: bool = ask(socket, &Request::ReloadPolicy).await?;
    output.show(&read, |_| "The policy was read anew. Changes of bridge.toml take effect with a restart.".to_owned());
    Ok(ExitCode::SUCCESS)
}
