//! The `lockbridge` binary: everything is in [`lockbridge::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lockbridge::cli::main()
}
