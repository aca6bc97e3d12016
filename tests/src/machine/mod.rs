//! A real Debian with systemd as its first process: a container in namespaces of its own, on a link that can be cut.
//!
//! Owns everything it makes: the image below `target/`, and for each machine a mount, a process and a network namespace that
//! live exactly as long as one process of ours, so that nothing is left when a test dies. Every wait has a deadline.
//! Never: touches the clock, the network or the service manager of the host.
//!
//! The machine reaches the host at [`HOST`], and the host it at [`GUEST`]; there is no other network.

mod image;
mod namespace;
mod run;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::until;
pub use run::Ended;

/// The host, on the machine's only link.
pub const HOST: &str = "198.51.100.1";
/// The machine.
pub const GUEST: &str = "198.51.100.2";
/// Size of the disk that the state directory is: it survives reboots of the machine, and it can be filled. With less than
/// 1 GiB free the daemon would warn all the time.
const STATE_BYTES: &str = "1200M";
/// Longest wait for the service manager of a booted machine.
const BOOT: Duration = Duration::from_secs(90);

/// What is mounted into the machine: from the host, to the guest.
#[derive(Debug, Clone)]
pub struct Bind {
    /// File, folder or device of the host.
    pub from: PathBuf,
    /// Absolute path in the machine.
    pub to: &'static str,
}

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    /// `unshare`: its end is the end of all namespaces.
    keeper: Child,
    /// The machine's first process, as the host numbers it.
    init: u32,
    /// The host's end of the link.
    link: String,
    folder: TempDir,
}

/// Whether machines can be run here; says loudly what is missing otherwise.
#[expect(clippy::print_stderr, reason = "a test that does not run must say so to whoever reads its output")]
pub fn available(what: &str) -> bool {
    let missing = image::missing();
    if let Some(missing) = &missing {
        eprintln!("SKIPPED: {what}: {missing}");
    }
    missing.is_none()
}

impl Machine {
    /// Boots a fresh machine and waits until its service manager has started what it is to start.
    pub async fn boot(binds: &[Bind]) -> Result<Self> {
        let image = tokio::task::spawn_blocking(image::base).await??;
        let folder = tempfile::Builder::new().prefix("lockbridge-machine-").tempdir().context("a temporary folder")?;
        namespace::sweep_groups();
        let keeper = start(&image, folder.path(), binds)?;
        let mut machine = Self { keeper, init: 0, link: String::new(), folder };
        machine.find_init(0).await?;
        machine.link = namespace::connect(machine.init).await?;
        machine.wait_for_services().await?;
        Ok(machine)
    }

    /// What the machine wrote to its console.
    pub fn console(&self) -> PathBuf {
        self.folder.path().join("console.log")
    }

    /// Takes the cable out.
    pub async fn link_down(&self) -> Result<()> {
        namespace::ip(&["link", "set", &self.link, "down"]).await
    }

    /// Puts it back.
    pub async fn link_up(&self) -> Result<()> {
        namespace::ip(&["link", "set", &self.link, "up"]).await
    }

    /// Orderly reboot, from the order to the started services.
    pub async fn reboot(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        // The order's own answer may be lost with the machine.
        let _answer = self.run(&["systemctl", "--no-block", "reboot"]).await;
        self.find_init(self.init).await?;
        self.wait_for_services().await?;
        Ok(begun.elapsed())
    }

    /// Ends the machine at once, as a power cut does, and waits until nothing of it is left.
    pub async fn end(mut self) -> Result<()> {
        self.keeper.kill().await.context("ending the machine")?;
        let (link, init) = (format!("/sys/class/net/{}", self.link), format!("/proc/{}", self.init));
        let gone = until("the end of the machine", BOOT, async || {
            let left: Vec<&str> =
                [&link, &init].into_iter().filter(|path| Path::new(path).exists()).map(String::as_str).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} is still there")) }
        });
        gone.await?;
        namespace::sweep_groups();
        Ok(())
    }

    /// Waits for a first process other than `before`.
    async fn find_init(&mut self, before: u32) -> Result<()> {
        let keeper = self.keeper.id().context("the machine ended")?;
        let found = until("the machine's first process", BOOT, async || {
            namespace::first_process(keeper).filter(|init| *init != before).ok_or_else(|| "none yet".to_owned())
        });
        self.init = found.await.with_context(|| self.console_tail())?;
        Ok(())
    }

    async fn wait_for_services(&self) -> Result<()> {
        let what = "the machine's services";
        let waited = until(what, BOOT, async || {
            let ended = self.run(&["systemctl", "is-system-running"]).await.map_err(|error| format!("{error:#}"))?;
            match ended.stdout.trim() {
                "running" | "degraded" => Ok(()),
                other => Err(format!("{other:?} {}", ended.stderr)),
            }
        });
        waited.await.with_context(|| self.console_tail())
    }

    fn console_tail(&self) -> String {
        let text = std::fs::read_to_string(self.console()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(15)).copied().collect::<Vec<_>>().join("\n");
        format!("the machine's console ends:\n{tail}")
    }
}

/// Everything of the machine below one process: the mount, the namespaces, the container. Its layer over the image lies in `folder`.
fn start(image: &Path, folder: &Path, binds: &[Bind]) -> Result<Child> {
    for name in ["upper", "work", "root", "disk"] {
        std::fs::create_dir(folder.join(name)).with_context(|| folder.display().to_string())?;
    }
    let script = r#"
set -e
image="$1" folder="$2" size="$3"
shift 3
mount --make-rprivate /
# What nspawn keeps about its machines ends with this one.
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
mount -t tmpfs -o "size=$size,mode=0755" tmpfs "$folder/disk"
mount -t overlay overlay -o "lowerdir=$image,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
ip link set lo up
# One hierarchy of control groups and the call that sets device rules: the machine's own systemd enforces its units' policies.
export UNIFIED_CGROUP_HIERARCHY=1 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
while :; do
    status=0
    systemd-nspawn --quiet --register=no --keep-unit --boot --console=pipe --link-journal=no --resolv-conf=off \
        --system-call-filter=bpf --capability=CAP_BPF --hostname=site --directory="$folder/root" \
        --bind="$folder/disk:/var/lib/lockbridge" "$@" || status=$?
    # 133: the machine wants to be started again. Anything else is its end.
    [ "$status" -eq 133 ] || exit "$status"
done
"#;
    let mut arguments: Vec<OsString> = binds
        .iter()
        .map(|bind| {
            let mut argument = OsString::from("--bind=");
            argument.push(&bind.from);
            argument.push(":");
            argument.push(bind.to);
            argument
        })
        .collect();
    arguments.splice(0..0, [image.into(), folder.into(), STATE_BYTES.into()]);
    let console = File::create(folder.join("console.log"))?;
    Command::new("setpriv")
        // When we die, so does the keeper of the namespaces, and with it all that is in them.
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", script, "sh"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .kill_on_drop(true)
        .spawn()
        .context("starting a machine")
}
