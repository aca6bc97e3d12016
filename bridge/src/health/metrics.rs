//! The snapshot as Prometheus text (exposition format 0.0.4): base units, few series, labels bounded by configuration.

use std::fmt::Write as _;

use super::snapshot::Snapshot;

/// Content type of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders `snapshot`; `resident_bytes` is the process's memory as the kernel counts it.
pub fn render(snapshot: &Snapshot, resident_bytes: Option<u64>) -> String {
    let mut text = Exposition::default();
    text.gauge("lockbridge_build_info", "Version of the running program.");
    text.sample("lockbridge_build_info", &[("version", snapshot.bridge.version)], 1);
    text.gauge("lockbridge_cloud_connected", "1 while a session with the cloud is open.");
    text.sample("lockbridge_cloud_connected", &[], u64::from(snapshot.cloud.connected));
    text.gauge("lockbridge_lock_system_reachable", "1 while the lock server answers and accepts us.");
    for system in &snapshot.lock_systems {
        let labels = [("lock_system", system.name.as_str()), ("kind", system.kind)];
        text.sample("lockbridge_lock_system_reachable", &labels, u64::from(system.reachable));
    }
    if let Some(engine) = &snapshot.engine {
        text.gauge("lockbridge_commands", "Commands held, by state.");
        for (state, count) in
            [("queued", engine.queued), ("executing", engine.executing), ("in_doubt", engine.in_doubt)]
        {
            text.sample("lockbridge_commands", &[("state", state)], count);
        }
        text.counter("lockbridge_commands_ended_total", "Commands that reached a final state.");
        text.sample("lockbridge_commands_ended_total", &[], engine.ended);
        text.gauge("lockbridge_outbox_reports", "Reports the cloud has not acknowledged.");
        text.sample("lockbridge_outbox_reports", &[], engine.outbox);
        text.counter("lockbridge_journal_sequence_total", "Highest durable journal sequence.");
        text.sample("lockbridge_journal_sequence_total", &[], engine.journal_sequence);
        text.gauge("lockbridge_brake", "1 while the local brake is on.");
        text.sample("lockbridge_brake", &[], u64::from(engine.brake));
    }
    text.gauge("lockbridge_reason", "1 for every reason that holds.");
    for reason in &snapshot.reasons {
        text.sample("lockbridge_reason", &[("scope", &reason.scope), ("code", reason.code)], 1);
    }
    text.gauge("process_start_time_seconds", "Start of the process, seconds since the epoch.");
    text.sample("process_start_time_seconds", &[], u64::try_from(snapshot.bridge.started_ms / 1000).unwrap_or(0));
    if let Some(bytes) = resident_bytes {
        text.gauge("process_resident_memory_bytes", "Resident memory.");
        text.sample("process_resident_memory_bytes", &[], bytes);
    }
    text.0
}

/// Resident memory of this process, from `/proc/self/statm`.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(u64::try_from(page).ok()?)
}

#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, help, "gauge");
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.head(name, help, "counter");
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String cannot fail.
        let _infallible = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if index == 0 { '{' } else { ',' };
            let _infallible = write!(self.0, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::EngineStatus;
    use crate::health::snapshot::{BridgeStatus, LockSystemStatus, State};
    use crate::tunnel::TunnelStatus;

    #[test]
    fn every_family_has_help_type_and_escaped_labels() {
        let snapshot = Snapshot {
            state: State::Ready,
            bridge: BridgeStatus { version: "1.2.3", started_ms: 5_000, ..BridgeStatus::default() },
            cloud: TunnelStatus { connected: true, ..TunnelStatus::default() },
            lock_systems: vec![LockSystemStatus { name: "a\"b".into(), kind: "salto_space", reachable: false }],
            engine: Some(EngineStatus { queued: 7, ..EngineStatus::default() }),
            reasons: vec![],
        };
        let text = render(&snapshot, resident_bytes());
        assert!(text.contains("lockbridge_commands{state=\"queued\"} 7\n"), "{text}");
        assert!(text.contains("lockbridge_lock_system_reachable{lock_system=\"a\\\"b\",kind=\"salto_space\"} 0\n"));
        assert!(text.contains("process_start_time_seconds 5\n"));
        let resident = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(resident.and_then(|bytes| bytes.parse::<u64>().ok()).is_some_and(|bytes| bytes > 100_000));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().expect("a name");
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} has no type");
        }
    }
}
