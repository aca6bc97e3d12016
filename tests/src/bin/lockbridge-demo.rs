//! `lockbridge-demo`: the main job, end to end, with real processes, TLS and TCP.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lockbridge_tests::demo::{FrontDesk, Summary, tell, tell_front_desk};
use lockbridge_tests::harness::Site;

/// Tells the main job step by step and checks every claim. Exit code 0 only if every step held.
#[derive(Debug, Parser)]
#[command(name = "lockbridge-demo", version)]
struct Arguments {
    /// Write the summary as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Tell the front desk's story instead: the property software asks for keys over a serial line, the cloud is cut off.
    #[arg(long)]
    front_desk: bool,
    /// Keep everything running afterwards and print how to try it.
    #[arg(long)]
    stay: bool,
}

/// The machines of a story, all still running.
enum Told {
    MainJob(Box<Site>),
    FrontDesk(Box<FrontDesk>),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut summary = Summary::default();
    // Ctrl-C drops the story, and with it every process it started.
    let story = async {
        if arguments.front_desk {
            Ok(Told::FrontDesk(Box::new(tell_front_desk(&mut summary).await?)))
        } else {
            Ok(Told::MainJob(Box::new(tell(&mut summary).await?)))
        }
    };
    let told: anyhow::Result<_> = tokio::select! {
        told = story => told,
        _interrupt = tokio::signal::ctrl_c() => {
            say("Interrupted; everything that was started is ended.");
            return ExitCode::from(130);
        }
    };
    say(&summary.table());
    if let Some(file) = &arguments.json {
        let written = serde_json::to_vec_pretty(&summary)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(file, bytes));
        if let Err(error) = written {
            say(&format!("{}: {error}", file.display()));
            return ExitCode::FAILURE;
        }
    }
    match told {
        Ok(told) if summary.held() => {
            if arguments.stay {
                match &told {
                    Told::MainJob(site) => stay(site).await,
                    Told::FrontDesk(desk) => stay(&desk.site).await,
                }
            }
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("The story ended early: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn stay(site: &Site) {
    let ca = site.ca_file.display();
    let api = format!("curl --cacert {ca} -H 'Authorization: Bearer {}' https://{}", site.api_key, site.api_address);
    let control = format!("http://{}", site.simulator_control);
    say(&format!(
        r#"
All of it keeps running until Ctrl-C.

  API                https://{}  (CA: {ca})
  API key            {}
  bridge             http://{}/status
  simulator          {control}/state
  configuration      {}

Five lines to try:

  {api}/acs/entrances/list
  {api}/access_grants/list?limit=3
  curl http://{}/metrics
  curl {control}/effects
  curl -X POST {control}/encoders/put -H 'Content-Type: application/json' -d '{{"encoder":"Front desk 1"}}'
"#,
        site.api_address,
        site.api_key,
        site.health_address,
        site.configuration().display(),
        site.health_address,
    ));
    // Waiting for the interrupt is all that is left; an error means that signals cannot be heard, and then it ends too.
    let _interrupt = tokio::signal::ctrl_c().await;
}

/// A closed pipe changes nothing: the exit code still tells.
fn say(line: &str) {
    let _closed_pipe = writeln!(std::io::stdout(), "{line}");
}
