//! `lockbridge setup`: leads through the first hour, or does it all from flags and files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use jiff::Zoned;
use serde_json::json;

use super::enroll::{self, Enrolled};
use super::{Failure, Output, block_on, check, exit};
use crate::check::{Daemon, Finding, Outcome};
use crate::config::{self, Config};
use crate::identity::{SeenIdentity, TokenSource};
use crate::net::chain_text;
use crate::setup::{
    Answers, Console, Draft, FileError, Group, Keeping, Mistake, Scratch, Sealing, Service, Terminal, answer,
    bare_configuration, configuration, drafts, questions, read_card, store_secrets, verify, write, yes,
};

/// How it is done; every question has a flag of its own too.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct Arguments {
    /// Ask nothing: take flags, the answers file and defaults. So it is too when standard input is no terminal.
    #[arg(long)]
    yes: bool,
    /// Read answers from this TOML file, with the flags' names (dashes as underscores) as keys; flags win.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Write although cloud or lock server could not be verified.
    #[arg(long)]
    unverified: bool,
    /// Replace files of an earlier setup that say something else.
    #[arg(long)]
    replace: bool,
    /// Do not start or restart the service.
    #[arg(long)]
    no_start: bool,
    /// When all is done, wait for a card on this encoder and read it.
    #[arg(long, value_name = "ENCODER")]
    test_card: Option<String>,
    #[command(flatten)]
    given: Given,
}

/// The answers given as flags, by key.
#[derive(Debug)]
struct Given(BTreeMap<String, String>);

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        let mut told = BTreeSet::new();
        let flags = questions().filter(|question| told.insert(question.source));
        flags.fold(command, |command, question| {
            let value = if question.is_secret { "FILE" } else { "VALUE" };
            // One flag may answer a question of every kind of lock system.
            let prompts: BTreeSet<&str> =
                questions().filter(|other| other.source == question.source).map(|other| other.prompt).collect();
            let help = prompts.into_iter().collect::<Vec<_>>().join("; or: ");
            let flag = Arg::new(question.source).long(question.flag).value_name(value).help(help);
            command.arg(flag.help_heading("Answers (for secrets: a file that holds it)"))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let keys = questions().map(|question| question.source);
        Ok(Self(keys.filter_map(|key| Some((key.to_owned(), matches.get_one::<String>(key)?.clone()))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(super) fn run(arguments: &Arguments, file: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut given = arguments.answers.as_deref().map(answers_file).transpose()?.unwrap_or_default();
    given.extend(arguments.given.0.clone());
    let interactive = !arguments.yes && io::stdin().is_terminal();
    let setup = Setup { arguments, file, given, console: interactive.then_some(Console) };
    block_on(setup.run(output))?
}

fn answers_file(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let unusable = |error: ::config::ConfigError| {
        Failure::new(exit::NO_INPUT, format!("the answers file {} cannot be read: {error}", path.display()))
            .reason("answers")
            .hint("It holds lines as `host = \"192.0.2.20\"`, with the names of the flags.")
    };
    let source = ::config::File::from(path).format(::config::FileFormat::Toml);
    let read = ::config::Config::builder().add_source(source).build().map_err(unusable)?;
    read.try_deserialize().map_err(unusable)
}

struct Setup<'run> {
    arguments: &'run Arguments,
    file: &'run Path,
    given: BTreeMap<String, String>,
    /// `None`: nobody is asked.
    console: Option<Console>,
}

impl Setup<'_> {
    async fn run(mut self, output: &mut Output) -> Result<ExitCode, Failure> {
        let bare = config::load_bare(self.file, &[])?;
        let is_enrolled = is_enrolled(&bare).await;
        if is_enrolled {
            self.say("This bridge is enrolled already; its identity stays.");
        }
        let answers = match self.console.take() {
            Some(mut console) => {
                let answers = self.ask(&mut console, is_enrolled).await?;
                self.console = Some(console);
                answers
            }
            None => self.take(is_enrolled).await?,
        };
        let service = Service::look().await;
        let written = self.write(&bare, service, &answers)?;
        let config = config::load(self.file)?.config;
        self.start(service, &config).await?;
        let enrolled = self.enroll(&config, &answers).await?;
        let card = self.test(&config, &answers).await?;
        tell(output, &written, enrolled.as_ref(), card.as_deref());
        Ok(ExitCode::SUCCESS)
    }

    fn say(&self, text: &str) {
        if self.console.is_some() {
            Console.say(text);
        }
    }

    /// From flags and files; every mistake at once, and nothing written while there is one.
    async fn take(&self, is_enrolled: bool) -> Result<Answers, Failure> {
        let answers = Answers::unattended(&self.given, is_enrolled).map_err(|mistakes| mistaken(&mistakes))?;
        let mut findings = Vec::new();
        for group in Group::ALL.into_iter().filter(|group| to_verify(*group, &answers)) {
            findings.extend(self.verify(group, &answers).await?);
        }
        let failed: Vec<String> = findings.iter().filter(|finding| is_bad(finding)).map(shown).collect();
        if failed.is_empty() || self.arguments.unverified {
            return Ok(answers);
        }
        Err(Failure::new(
            exit::ERROR,
            format!("nothing was written, because this does not work:\n{}", failed.join("\n")),
        )
        .reason("not_verified")
        .hint("Correct it and run setup again, or add `--unverified` to write the files all the same."))
    }

    /// From a person, group by group; a group whose answers do not work is asked again.
    async fn ask(&self, console: &mut Console, is_enrolled: bool) -> Result<Answers, Failure> {
        let mut answers = Answers::none(is_enrolled);
        for group in Group::ALL {
            let mut proposed = self.given.clone();
            loop {
                for question in questions().filter(|question| question.group == group) {
                    answer(console, question, &mut answers, &mut proposed).map_err(|error| no_answer(&error))?;
                }
                if !to_verify(group, &answers) {
                    break;
                }
                console.say("Looking ...");
                let findings = self.verify(group, &answers).await?;
                for finding in &findings {
                    console.say(&shown(finding));
                }
                if !findings.iter().any(is_bad) || wants(console, "Go on with these answers all the same?")? {
                    break;
                }
                proposed.clear();
            }
        }
        Ok(answers)
    }

    async fn verify(&self, group: Group, answers: &Answers) -> Result<Vec<Finding>, Failure> {
        // Before there is a lock system, the way to the cloud is that of the bare configuration and the proxy.
        let scratch = Scratch::beside(self.file).map_err(|error| cannot_write(&error))?;
        let keeping = Keeping::Files(scratch.path().to_owned());
        store_secrets(answers, &keeping).map_err(|error| cannot_write(&error))?;
        let drafts = drafts(answers, self.file, &keeping, "today");
        let config = match group {
            Group::Cloud => bare_configuration(self.file, &drafts)?,
            Group::LockSystem | Group::Encoders | Group::FrontDesk => configuration(self.file, &drafts)?,
        };
        let present = config::load(self.file).ok().map(|loaded| loaded.config);
        Ok(verify(group, answers, config, present.as_ref()).await)
    }

    /// Writes what is new; the paths written.
    fn write(&mut self, bare: &Config, service: Service, answers: &Answers) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.file.parent().unwrap_or_else(|| Path::new("/"));
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let day = Zoned::now().strftime("%Y-%m-%d").to_string();
        let keeping = keeping(bare, answers, service, folder);
        let drafts = drafts(answers, self.file, &keeping, &day);
        for draft in drafts.iter().filter(|draft| draft.would_replace()) {
            self.may_replace(draft)?;
        }
        let mut written = store_secrets(answers, &keeping).map_err(|error| cannot_write(&error))?;
        for draft in drafts {
            write(&draft).map_err(|error| cannot_write(&error))?;
            written.push(draft.path);
        }
        Ok(written)
    }

    fn may_replace(&mut self, draft: &Draft) -> Result<(), Failure> {
        let question = format!("{} is there and says something else. Replace it?", draft.path.display());
        let replaces = match &mut self.console {
            _ if self.arguments.replace => true,
            Some(console) => wants(console, &question)?,
            None => false,
        };
        if replaces {
            return Ok(());
        }
        Err(Failure::new(
            exit::ERROR,
            format!("{} is there and says something else; it was kept", draft.path.display()),
        )
        .reason("file_exists")
        .hint("Look at it; then run setup again with `--replace`, or with another `--lock-system` name."))
    }

    async fn start(&self, service: Service, config: &Config) -> Result<(), Failure> {
        if self.arguments.no_start || service == Service::None {
            return Ok(());
        }
        self.say("Starting the service ...");
        service.start().await.map_err(|error| {
            Failure::new(exit::ERROR, chain_text(&error))
                .reason("service")
                .hint("Look at `journalctl -u lockbridge -n 50`; the files are written. Then run setup again.")
        })?;
        match Daemon::ask(config).await {
            Daemon::Answers(_) => Ok(()),
            Daemon::NotRunning(problem) | Daemon::Unknown(problem) => Err(Failure::new(exit::UNAVAILABLE, problem)
                .reason("not_running")
                .hint("Look at `journalctl -u lockbridge -n 50`; the files are written. Then run setup again.")),
        }
    }

    async fn enroll(&self, config: &Config, answers: &Answers) -> Result<Option<Enrolled>, Failure> {
        let Some(token) = answers.secret("token") else { return Ok(None) };
        let token = match self.given.get("token_file") {
            // A file is wiped once the token is spent.
            Some(path) if self.console.is_none() => TokenSource::File(path.into()),
            _ => TokenSource::Text(token.clone()),
        };
        let name = answers.text("name").unwrap_or_default().to_owned();
        enroll::enroll(config.clone(), token, name).await.map(Some)
    }

    /// Reads a card when that was asked for; what was seen.
    async fn test(&mut self, config: &Config, answers: &Answers) -> Result<Option<String>, Failure> {
        // A line has one user. Where the daemon has it, its encoders have been asked before it was started.
        let is_held =
            answers.text("kind") != Some("salto_space") && !matches!(Daemon::ask(config).await, Daemon::NotRunning(_));
        if let (true, Some(encoder)) = (is_held, &self.arguments.test_card) {
            let problem = format!("all is set up, but the daemon has the line to {encoder:?} now");
            return Err(Failure::new(exit::ERROR, problem)
                .reason("test_card")
                .hint("Make a key on it: `lockbridge encode --help`."));
        }
        let first = answers.encoders().into_iter().next().filter(|_| !is_held);
        let encoder = match (self.arguments.test_card.clone(), &mut self.console, first) {
            (Some(encoder), _, _) => Some(encoder),
            (None, Some(console), Some(first)) => {
                wants(console, &format!("Read a test card on {first:?} now?"))?.then_some(first)
            }
            _ => None,
        };
        let Some(encoder) = encoder else { return Ok(None) };
        Console.say(&format!("Put a card on {encoder:?}; it is read, nothing is written (30 s)."));
        let system = answers.text("lock_system").unwrap_or_default();
        match read_card(config, system, &encoder).await {
            Ok(read) => Ok(Some(format!("{encoder} read a card (chip serial {})", read.card_number))),
            Err(error) if self.console.is_some() => Ok(Some(format!("no card was read: {error}"))),
            Err(error) => Err(Failure::new(exit::ERROR, format!("all is set up, but no card was read: {error}"))
                .reason("test_card")
                .hint("Put a card on the encoder and run `lockbridge check --only encoder`.")),
        }
    }
}

/// Something was answered that can be looked at.
fn to_verify(group: Group, answers: &Answers) -> bool {
    match group {
        Group::Cloud | Group::LockSystem => true,
        Group::Encoders => questions().any(|question| question.group == group && (question.wanted)(answers)),
        Group::FrontDesk => answers.has_front_desk(),
    }
}

fn wants(console: &mut Console, question: &str) -> Result<bool, Failure> {
    yes(console, question).map_err(|error| no_answer(&error))
}

async fn is_enrolled(config: &Config) -> bool {
    let daemon = Daemon::ask(config).await;
    let by_daemon = daemon.snapshot().and_then(|snapshot| snapshot["bridge"]["bridge_id"].as_str());
    by_daemon.is_some_and(|id| !id.is_empty()) || matches!(SeenIdentity::read(&config.state_directory), Ok(Some(_)))
}

/// Sealed for the unit, whose credentials have room for the secrets of one lock system; in files beside the configuration
/// where there is no unit, where this machine cannot seal, or where another lock system is configured.
fn keeping(bare: &Config, answers: &Answers, service: Service, folder: PathBuf) -> Keeping {
    let is_alone = bare.lock_systems.iter().all(|system| Some(system.name.as_str()) == answers.text("lock_system"));
    let sealing = if service != Service::None && is_alone { Sealing::of_machine() } else { None };
    sealing.map_or(Keeping::Files(folder), Keeping::Sealed)
}

fn is_bad(finding: &Finding) -> bool {
    matches!(finding.outcome, Outcome::Failed | Outcome::Fatal)
}

fn shown(finding: &Finding) -> String {
    let remedy = if finding.remedy.is_empty() { String::new() } else { format!("\n         -> {}", finding.remedy) };
    format!("{}{remedy}", check::line(finding))
}

fn mistaken(mistakes: &[Mistake]) -> Failure {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("  {mistake}")).collect();
    Failure::new(exit::USAGE, format!("{} answer(s) will not do:\n{}", mistakes.len(), lines.join("\n")))
        .reason("answers")
        .hint(
            "Give them as flags (dashes for underscores) or in the answers file; `lockbridge setup --help` lists them.",
        )
}

fn cannot_write(error: &FileError) -> Failure {
    Failure::new(exit::ERROR, chain_text(error)).reason("file").hint("Run it with sudo, or give another `--config`.")
}

fn no_answer(error: &io::Error) -> Failure {
    let problem = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the answers ended before the questions".to_owned(),
        io::ErrorKind::Interrupted => "stopped; nothing was written".to_owned(),
        _ => format!("the answer cannot be read: {error}"),
    };
    Failure::new(exit::USAGE, problem).reason("answers").hint("Run `lockbridge setup` again.")
}

fn tell(output: &mut Output, written: &[PathBuf], enrolled: Option<&Enrolled>, card: Option<&str>) {
    let summary = enrolled.map(|enrolled| &enrolled.summary);
    let value = json!({
        "written": written,
        "bridge_id": summary.map(|summary| &summary.bridge_id),
        "workspace_id": summary.map(|summary| &summary.workspace_id),
        "workspace_name": summary.map(|summary| &summary.workspace_name),
        "test_card": card,
    });
    output.show(&value, |_| {
        let mut lines: Vec<String> = written.iter().map(|path| format!("written      {}", path.display())).collect();
        if let Some(enrolled) = enrolled {
            let summary = &enrolled.summary;
            lines.push(format!("workspace    {} ({})", summary.workspace_name, summary.workspace_id));
            lines.push(format!("bridge       {}", summary.bridge_id));
        }
        lines.extend(card.map(|card| format!("test card    {card}")));
        lines.push(String::new());
        lines.push(match enrolled {
            Some(Enrolled { by_daemon: true, .. }) => {
                "-> If that is the right workspace, the bridge works from here on: `lockbridge status`.".to_owned()
            }
            Some(_) => "-> If that is the right workspace, start the daemon: `lockbridge run`.".to_owned(),
            None => "-> Look at `lockbridge status`.".to_owned(),
        });
        lines.join("\n")
    });
}
