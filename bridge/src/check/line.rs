//! Does the other end of a byte line answer, and does it understand us?
//!
//! A line has one user. While the daemon runs, what it says of the line is told; otherwise the line is opened here and asked for
//! what changes nothing. Who may not ask the daemon is told that, for its line must not be taken away.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use super::line_held::{self, Held};
use super::line_probe::{NotOpen, fias, salto_pms};
use super::line_words::{of_fias, of_pms};
use super::{Check, Context, Daemon, Verdict, serial};
use crate::config::{Config, FiasConfig, FrontDeskConfig, LockSystemConfig, LockSystemKind, SaltoPmsConfig};
use crate::link::{Endpoint, LineError};
use crate::net::chain_text;

pub(super) const CHECK: Check = Check {
    id: "line",
    description: "Each byte line opens, and its other end answers and understands us.",
    look: |context| look(context).boxed(),
};

/// A configured line.
#[derive(Debug, Clone)]
enum Subject {
    Pms(Box<salto_pms::Subject>),
    Fias(Box<fias::Subject>),
}

impl Subject {
    fn of_system(system: &LockSystemConfig) -> Option<Self> {
        let of_pms = |pms: &SaltoPmsConfig, encoders: &[crate::config::EncoderConfig]| {
            Self::Pms(Box::new(salto_pms::Subject {
                name: system.name.clone(),
                endpoint: pms.endpoint.clone(),
                limits: pms.limits,
                checksum: pms.checksum,
                exchange: pms.exchange,
                encoders: encoders.iter().map(|encoder| encoder.name.clone()).collect(),
            }))
        };
        match &system.kind {
            LockSystemKind::SaltoPms(pms) => Some(of_pms(pms, &pms.encoders)),
            LockSystemKind::SaltoSpace(space) => space.pms.as_deref().map(|pms| of_pms(pms, &space.encoders)),
            LockSystemKind::Fias(fias) => Some(Self::of_key_service(system, fias)),
        }
    }

    fn of_key_service(system: &LockSystemConfig, fias: &FiasConfig) -> Self {
        Self::Fias(Box::new(fias::Subject {
            name: system.name.clone(),
            endpoint: fias.endpoint.clone(),
            other: fias::Other::KeyService,
            acknowledges: fias.acknowledges,
            checksum: fias.checksum,
            zone: system.time_zone.clone(),
            link_key: fias.link_key.clone(),
            patience: fias::Patience::default(),
        }))
    }

    fn of_front_desk(desk: &FrontDeskConfig) -> Self {
        Self::Fias(Box::new(fias::Subject {
            name: desk.name.clone(),
            endpoint: desk.endpoint.clone(),
            other: fias::Other::PropertySoftware,
            acknowledges: desk.acknowledges,
            checksum: desk.checksum,
            zone: desk.time_zone.clone(),
            link_key: desk.link_key.clone(),
            patience: fias::Patience::default(),
        }))
    }

    fn held(&self) -> Held<'_> {
        match self {
            Self::Pms(pms) => Held { name: &pms.name, is_front_desk: false, has_link: false },
            Self::Fias(fias) => {
                Held { name: &fias.name, is_front_desk: fias.other == fias::Other::PropertySoftware, has_link: true }
            }
        }
    }

    fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Pms(pms) => &pms.endpoint,
            Self::Fias(fias) => &fias.endpoint,
        }
    }

    fn probe(&self) -> BoxFuture<'_, Vec<Verdict>> {
        if let Endpoint::Serial(port) = self.endpoint()
            && let Some(closed) = serial::closed_to_service(&port.device)
        {
            return std::future::ready(vec![closed.about(self.held().title())]).boxed();
        }
        match self {
            Self::Pms(pms) => probe_pms(pms).boxed(),
            Self::Fias(fias) => probe_fias(fias, self.held().title()).boxed(),
        }
    }
}

/// The lines of a configuration: lock systems first, as the daemon shows them.
fn subjects(config: &Config) -> impl Iterator<Item = Subject> {
    let systems = config.lock_systems.iter().filter_map(Subject::of_system);
    systems.chain(config.front_desks.iter().map(Subject::of_front_desk))
}

/// Every line of a configuration: its name, and where and how it leads. For comparing.
pub(super) fn places(config: &Config) -> impl Iterator<Item = (String, String)> {
    subjects(config).map(|subject| (subject.held().name.to_owned(), format!("{:?}", subject.endpoint())))
}

async fn look(context: &Context) -> Vec<Verdict> {
    let verdicts = subjects(&context.config).map(|subject| async move {
        let held = subject.held();
        match &context.daemon {
            Daemon::Answers(snapshot) => match line_held::look(snapshot, &held) {
                Some(verdict) => vec![verdict.about(held.title())],
                None => subject.probe().await,
            },
            Daemon::NotRunning(_) => subject.probe().await,
            Daemon::Unknown(why) => {
                let skipped =
                    format!("the daemon may have it, and does not answer this user ({why}); a line has one user");
                vec![Verdict::skipped(skipped).about(held.title())]
            }
        }
    });
    let verdicts = join_all(verdicts).await.concat();
    if verdicts.is_empty() { vec![Verdict::skipped("no byte line is configured")] } else { verdicts }
}

/// Opens the line and asks; then asks each encoder.
async fn probe_pms(subject: &salto_pms::Subject) -> Vec<Verdict> {
    let heard = salto_pms::run(subject).await;
    let verdict = match heard.line {
        Ok(said) => of_pms(said, subject.checksum, &subject.endpoint.to_string()),
        Err(not_open) => not_open.into(),
    };
    let encoders =
        heard.encoders.into_iter().map(|(encoder, verdict)| verdict.about(format!("{}/{encoder}", subject.name)));
    std::iter::once(verdict.about(&subject.name)).chain(encoders).collect()
}

/// Opens the line and begins the link.
async fn probe_fias(subject: &fias::Subject, title: String) -> Vec<Verdict> {
    let verdict = match fias::run(subject).await {
        Ok(fias::Found { line: Ok(heard), key }) => of_fias(&heard, &key, subject),
        Ok(fias::Found { line: Err(not_open), .. }) => not_open.into(),
        Err(fias::UnusableKey(problem)) => Verdict::failed(
            format!("the key of the link cannot be used: {problem}"),
            "Put the key as the vendor gave it (FidCrypt0S|...) into the file of `link_key_file`, readable for the service.",
        ),
    };
    vec![verdict.about(title)]
}

/// Keeps the line's own words and its next step together.
impl From<&LineError> for Verdict {
    fn from(error: &LineError) -> Self {
        Self::failed(chain_text(error), error.remedy())
    }
}

impl From<NotOpen> for Verdict {
    fn from(not_open: NotOpen) -> Self {
        match not_open {
            NotOpen::Line(error) => (&error).into(),
            NotOpen::Nobody { address, wait, strangers } if strangers.is_empty() => Self::failed(
                format!("nobody connected to our address {address} within {} s", wait.as_secs()),
                "Check that the other end is to connect to this address and port, that it runs, and the firewall between.",
            ),
            NotOpen::Nobody { address, strangers, .. } => {
                let names: Vec<String> = strangers.iter().map(ToString::to_string).collect();
                Self::failed(
                    format!("{} connected to our address {address} and is not in `allow`", names.join(", ")),
                    "If that is the other end, put its address into `allow`; if not, find out who it is.",
                )
            }
        }
    }
}
