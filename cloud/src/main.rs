//! The binary of the reference cloud: parse, dispatch, render the error, choose the exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use lockbridge_cloud::cli::{Arguments, run};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain reads as one sentence: what was tried, then why it failed.
            eprint_line(&format!("lockbridge-cloud: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where the program speaks to a person about its failure")]
fn eprint_line(line: &str) {
    eprintln!("{line}");
}
