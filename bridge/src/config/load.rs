//! The layers: `bridge.toml`, then sorted `bridge.d/*.toml`, then the environment; later layers win key by key.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use config::{Environment, File, FileFormat, Map, Source, Value, ValueKind};
use thiserror::Error;

use super::findings::{Effective, Findings, Problem};
use super::section::Section;
use super::types::Config;
use super::validate::{self, Systems};

/// Prefix of environment variables: `LOCKBRIDGE__LOG__LEVEL=debug` sets `log.level`.
pub const ENVIRONMENT_PREFIX: &str = "LOCKBRIDGE";

/// Largest configuration file read; more is a mistaken path.
const FILE_BYTES: u64 = 1024 * 1024;

/// The configuration has mistakes; all of them, in the order met.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the configuration has {} mistake(s):\n{}", problems.len(), list(problems))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// A configuration that holds, and where each value came from.
#[derive(Debug)]
pub struct Loaded {
    /// Validated.
    pub config: Config,
    /// Every value in force.
    pub effective: Vec<Effective>,
}

/// A file as it would be: taken instead of what stands at its path.
#[derive(Debug, Clone, Copy)]
pub struct Extra<'draft> {
    /// Where it would stand.
    pub path: &'draft Path,
    /// What it would say.
    pub text: &'draft str,
}

/// Reads all layers and validates them. `file` must exist; `bridge.d` beside it may.
pub fn load(file: &Path) -> Result<Loaded, ConfigError> {
    load_with(file, &[])
}

/// [`load`] with files that are not written yet.
pub fn load_with(file: &Path, extra: &[Extra<'_>]) -> Result<Loaded, ConfigError> {
    load_layers(file, extra, &environment(), Systems::Needed)
}

/// What holds before there is a lock system, or even a file: for the setup of a new machine.
pub fn load_bare(file: &Path, extra: &[Extra<'_>]) -> Result<Config, ConfigError> {
    let mut extra = extra.to_vec();
    if !file.exists() && !extra.iter().any(|draft| draft.path == file) {
        extra.push(Extra { path: file, text: "" });
    }
    Ok(load_layers(file, &extra, &environment(), Systems::Optional)?.config)
}

fn environment() -> Environment {
    Environment::with_prefix(ENVIRONMENT_PREFIX).prefix_separator("__").separator("__")
}

fn load_layers(
    file: &Path,
    extra: &[Extra<'_>],
    environment: &Environment,
    systems: Systems,
) -> Result<Loaded, ConfigError> {
    let findings = Rc::new(RefCell::new(Findings::default()));
    let mut merged = Map::new();
    for path in layers(file, extra, &findings) {
        if let Some(layer) = read(&path, extra, &findings) {
            merge(&mut merged, layer);
        }
    }
    match environment.collect() {
        Ok(layer) => merge(&mut merged, layer),
        Err(error) => problem(&findings, "environment", ENVIRONMENT_PREFIX, &error.to_string(), "readable variables"),
    }
    let root = Section::new("", &file.display().to_string(), merged, Rc::clone(&findings));
    let config = validate::bridge(root, systems);
    let findings = findings.take();
    match config {
        Some(config) if findings.problems.is_empty() => Ok(Loaded { config, effective: findings.effective }),
        _ => Err(ConfigError { problems: findings.problems }),
    }
}

fn layers(file: &Path, drafts: &[Extra<'_>], findings: &RefCell<Findings>) -> Vec<PathBuf> {
    let folder = file.with_extension("d");
    let mut extra: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            problem(findings, &folder.display().to_string(), "(folder)", &error.to_string(), "a readable folder");
            Vec::new()
        }
    };
    extra.extend(drafts.iter().map(|draft| draft.path.to_owned()).filter(|path| path != file));
    extra.sort();
    extra.dedup();
    extra.insert(0, file.to_owned());
    extra
}

fn read(path: &Path, drafts: &[Extra<'_>], findings: &RefCell<Findings>) -> Option<Map<String, Value>> {
    let origin = path.display().to_string();
    if let Some(draft) = drafts.iter().find(|draft| draft.path == path) {
        return parsed(File::from_str(draft.text, FileFormat::Toml).collect(), &origin, findings);
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES => {
            problem(findings, &origin, "(file)", &format!("{} bytes", metadata.len()), "a file of at most 1 MiB");
            return None;
        }
        Ok(_) => {}
        Err(error) => {
            problem(findings, &origin, "(file)", &error.to_string(), "a readable TOML file");
            return None;
        }
    }
    parsed(File::from(path).format(FileFormat::Toml).collect(), &origin, findings)
}

fn parsed(
    layer: Result<Map<String, Value>, config::ConfigError>,
    origin: &str,
    findings: &RefCell<Findings>,
) -> Option<Map<String, Value>> {
    match layer {
        Ok(mut layer) => {
            for value in layer.values_mut() {
                *value = with_origin(value, origin);
            }
            Some(layer)
        }
        Err(error) => {
            problem(findings, origin, "(file)", &error.to_string(), "valid TOML");
            None
        }
    }
}

/// Gives every value of a layer its file as the origin, also inside tables and lists.
fn with_origin(value: &Value, origin: &str) -> Value {
    let kind = match value.kind.clone() {
        ValueKind::Table(table) => {
            ValueKind::Table(table.into_iter().map(|(key, value)| (key, with_origin(&value, origin))).collect())
        }
        ValueKind::Array(items) => ValueKind::Array(items.iter().map(|item| with_origin(item, origin)).collect()),
        kind => kind,
    };
    Value::new(Some(&origin.to_owned()), kind)
}

/// Tables are merged key by key; anything else is replaced.
fn merge(into: &mut Map<String, Value>, layer: Map<String, Value>) {
    for (key, value) in layer {
        match (into.get_mut(&key).map(|present| &mut present.kind), &value.kind) {
            (Some(ValueKind::Table(present)), ValueKind::Table(table)) => merge(present, table.clone()),
            _ => {
                into.insert(key, value);
            }
        }
    }
}

fn problem(findings: &RefCell<Findings>, origin: &str, key: &str, found: &str, expected: &str) {
    findings.borrow_mut().problems.push(Problem {
        origin: origin.to_owned(),
        key: key.to_owned(),
        found: Some(found.to_owned()),
        expected: expected.to_owned(),
    });
}
