//! Files onto the disk: whole or not at all, readable for the service, and tried before they are written.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Draft;
use crate::config::{Config, ConfigError, Extra};

/// User of the service, who has to read what is written here.
const USER: &str = "lockbridge";
/// A file could not be written.
#[derive(Debug, Error)]
#[error("cannot write {}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What the configuration would be with these files, before they are written.
pub fn configuration(file: &Path, drafts: &[Draft]) -> Result<Config, ConfigError> {
    let extra: Vec<Extra<'_>> = drafts.iter().map(|draft| Extra { path: &draft.path, text: &draft.text }).collect();
    Ok(crate::config::load_with(file, &extra)?.config)
}

/// The same before the lock system is known: what there is to know of the way to the cloud.
pub fn bare_configuration(file: &Path, drafts: &[Draft]) -> Result<Config, ConfigError> {
    let known = drafts.iter().filter(|draft| !draft.is_lock_system);
    let extra: Vec<Extra<'_>> = known.map(|draft| Extra { path: &draft.path, text: &draft.text }).collect();
    crate::config::load_bare(file, &extra)
}

/// Writes a file that anybody may read.
pub fn write(draft: &Draft) -> Result<(), FileError> {
    let failed = |source| FileError { path: draft.path.clone(), source };
    if let Some(folder) = draft.path.parent().filter(|folder| !folder.exists()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
        std::fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed)?;
    }
    replace(&draft.path, draft.text.as_bytes(), 0o644, false).map_err(failed)
}

/// A folder for secrets that are tried before they are kept; removed with all in it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it beside the configuration `file`, for this user only.
    pub fn beside(file: &Path) -> Result<Self, FileError> {
        let path = file.with_file_name(format!(".setup-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|source| FileError { path: path.clone(), source })?;
        Ok(Self(path))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing more can be done here; the folder is closed to others.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// Whole or not at all.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32, for_service: bool) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        // Whatever the umask of this shell is: the service has to read it.
        file.set_permissions(Permissions::from_mode(mode))?;
        let service = nix::unistd::User::from_name(USER).ok().flatten();
        if let Some(user) = service.filter(|_| for_service && nix::unistd::geteuid().is_root()) {
            fchown(&file, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // Not there when making it was what failed.
        let _gone = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::super::draft::quoted;
    use super::super::{Answers, Keeping, drafts, store_secrets};
    use super::*;

    fn answers(folder: &Path, more: &[(&str, &str)]) -> Answers {
        let secret = folder.join("typed");
        std::fs::write(&secret, "canary \"secret\"").expect("written");
        let mut given: BTreeMap<String, String> = [
            ("time_zone", "Europe/Madrid"),
            ("transport", "http"),
            ("url", "http://192.0.2.20:8100"),
            ("authentication", "basic"),
            ("user", "the \"bridge\""),
            ("password_file", secret.to_str().expect("text")),
            ("encoders", "Front desk 1, Pförtner \\ 2"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        given.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        Answers::unattended(&given, true).expect("holds")
    }

    #[test]
    fn what_is_written_is_read_as_it_was_answered() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bridge.toml");
        let answers = answers(folder.path(), &[("proxy", "http://proxy.example.com:3128")]);
        let keeping = Keeping::Files(folder.path().to_owned());
        let drafts = drafts(&answers, &file, &keeping, "2026-11-22");
        assert_eq!(drafts.len(), 3);
        let planned = configuration(&file, &drafts).expect("holds before it is written");
        for draft in &drafts {
            assert!(!draft.would_replace(), "nothing is there yet");
            write(draft).expect("written");
            assert!(!draft.would_replace(), "the same again");
            assert!(!draft.text.contains("canary"), "no secret: {}", draft.text);
        }
        let written = store_secrets(&answers, &keeping).expect("stored");
        let mode = std::fs::metadata(&written[0]).expect("there").permissions().mode() & 0o777;
        assert_eq!((written.len(), mode), (1, 0o600));
        let config = crate::config::load(&file).expect("holds").config;
        assert_eq!(format!("{config:?}"), format!("{planned:?}"));
        let crate::config::LockSystemKind::SaltoSpace(space) = &config.lock_systems[0].kind else {
            panic!("SALTO Space")
        };
        let names: Vec<&str> = space.encoders.iter().map(|encoder| encoder.name.as_str()).collect();
        assert_eq!(names, ["Front desk 1", "Pförtner \\ 2"]);
        let crate::config::ShipTransport::Http { authentication, .. } = &space.transport else { panic!("http") };
        let crate::config::HttpAuthentication::Basic { user, password } = authentication else { panic!("basic") };
        assert_eq!(user, "the \"bridge\"");
        assert_eq!(password.read().expect("readable").expose_secret(), "canary \"secret\"");
    }

    #[test]
    fn every_kind_of_line_and_a_front_desk_are_read_as_answered() {
        let desk =
            [("front_desk", "reception"), ("front_desk_transport", "listen"), ("front_desk_listen", "192.0.2.10:5004")];
        let desk = [&desk[..], &[("front_desk_allow", "192.0.2.30, 192.0.2.31")]].concat();
        let site =
            [("time_zone", "Europe/Madrid"), ("lock_system", "hotel"), ("encoders", "1, 2"), ("rooms", "0101..0120")];
        let serial =
            [("transport", "serial"), ("device", "/dev/lockbridge/front-desk"), ("baud", "2400"), ("format", "7E2")];
        let tcp = [("transport", "tcp"), ("host", "192.0.2.20"), ("port", "8090"), ("checksum", "no")];
        let listen =
            [("transport", "listen"), ("listen", "192.0.2.10:5003"), ("allow", "192.0.2.20"), ("acknowledges", "yes")];
        for (kind, line) in
            [("salto_pms", serial), ("salto_pms", tcp), ("fias", serial), ("fias", tcp), ("fias", listen)]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("bridge.toml");
            let given = [&[("kind", kind)][..], &site[..], &line[..], &desk[..]].concat();
            let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let answers = Answers::unattended(&given, true).expect("holds");
            let drafts = drafts(&answers, &file, &Keeping::Files(folder.path().to_owned()), "2026-11-22");
            let config = configuration(&file, &drafts).expect("holds");
            let endpoint = match &config.lock_systems[0].kind {
                crate::config::LockSystemKind::SaltoPms(pms) => {
                    let unchecked = pms.checksum == lockbridge_protocol::line::Checksum::Marked;
                    assert_eq!((pms.rooms.len(), pms.encoders.len(), unchecked), (20, 2, line == tcp));
                    &pms.endpoint
                }
                crate::config::LockSystemKind::Fias(fias) => {
                    assert_eq!((fias.rooms[19].name.as_str(), fias.acknowledges), ("0120", line != tcp));
                    &fias.endpoint
                }
                other @ crate::config::LockSystemKind::SaltoSpace(_) => panic!("{other:?}"),
            };
            match endpoint {
                crate::link::Endpoint::Serial(port) => assert_eq!(port.format(), "2400 7E2"),
                other => assert!(other.to_string().contains(line[1].1), "{other}"),
            }
            let desk = &config.front_desks[0];
            assert_eq!((desk.name.as_str(), desk.lock_system.as_str()), ("reception", "hotel"));
            let crate::link::Endpoint::Listen { allow, .. } = &desk.endpoint else { panic!("{desk:?}") };
            assert_eq!((allow.len(), desk.acknowledges), (2, false));
        }
    }

    #[test]
    fn another_day_is_no_other_file_and_another_host_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bridge.toml");
        let keeping = Keeping::Files(folder.path().to_owned());
        let draft =
            |day, url| drafts(&answers(folder.path(), &[("url", url)]), &file, &keeping, day).pop().expect("a file");
        write(&draft("2026-11-22", "http://192.0.2.20")).expect("written");
        assert!(!draft("2026-11-23", "http://192.0.2.20").would_replace());
        assert!(draft("2026-11-22", "http://192.0.2.21").would_replace());
    }

    proptest! {
        #[test]
        fn any_text_is_a_toml_string(text in "\\PC{0,40}") {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("x.toml");
            std::fs::write(&path, format!("value = {}\n", quoted(&text))).expect("written");
            let read = config::Config::builder().add_source(config::File::from(path)).build().expect("TOML");
            prop_assert_eq!(read.get_string("value").expect("text"), text);
        }
    }
}
