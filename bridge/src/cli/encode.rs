//! `lockbridge encode`: write the card of a known grant on site.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use lockbridge_protocol::ids::CommandId;

use super::{Failure, Output, ask, exit, words};
use crate::control::{EncodeAnswer, Request};
use crate::dispatch::{EncodeLocally, EncoderJob};

/// Between two looks at how far the job has come.
const LOOK: Duration = Duration::from_millis(300);

/// Which grant, and where.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Id of the access grant, as the cloud shows it.
    grant_id: String,
    /// Encoder, spelled as in the lock system; may be left out when there is one.
    #[arg(long, default_value = "", hide_default_value = true)]
    encoder: String,
    /// Lock system, by its name in the configuration; may be left out when there is one.
    #[arg(long, default_value = "", hide_default_value = true)]
    lock_system: String,
}

pub(super) async fn run(arguments: &Arguments, socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let command_id = CommandId(rand::random()).to_string();
    let request = Request::Encode(EncodeLocally {
        grant_id: arguments.grant_id.clone(),
        lock_system: arguments.lock_system.clone(),
        encoder: arguments.encoder.clone(),
        command_id: command_id.clone(),
        operation: None,
    });
    let asked = ask(socket, &request);
    tokio::pin!(asked);
    let mut told = String::new();
    let answer: EncodeAnswer = loop {
        tokio::select! {
            answer = &mut asked => break answer?,
            () = tokio::time::sleep(LOOK) => {}
        }
        // Only shown: a look that fails changes nothing.
        let Ok(jobs) = ask::<Vec<EncoderJob>>(socket, &Request::EncoderJobs).await else { continue };
        let Some(job) = jobs.iter().find(|job| job.command_id == command_id) else { continue };
        let line = words::encoder_job(job);
        if line != told {
            output.progress(&line);
            told = line;
        }
    };
    output.show(&answer, |answer| match answer.state.as_str() {
        "succeeded" => format!("The card {} is written.", answer.card_number),
        "in_doubt" => format!(
            "It is NOT KNOWN whether the card was written: {}\n  -> Look at the card, then run `lockbridge doubt`.",
            answer.message
        ),
        state => format!("No card was written ({state}, {}): {}", answer.code, answer.message),
    });
    Ok(if answer.state == "succeeded" { ExitCode::SUCCESS } else { ExitCode::from(exit::ERROR) })
}
