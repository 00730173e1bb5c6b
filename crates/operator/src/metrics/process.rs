//! What this process uses, read from `/proc/self` at each scrape, under the names that every
//! Prometheus client gives them.

use std::fmt;
use std::fs::read_to_string;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks of a second, which Linux fixes for all figures that it gives to programs.
const TICKS: f64 = 100.0;

/// The process.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(bytes) = read_to_string("/proc/self/status").ok().as_deref().and_then(resident)
        {
            let help = "Resident memory";
            write(&mut encoder, "process_resident_memory_bytes", help, &ConstGauge::new(bytes))?;
        }
        if let Some(seconds) = read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu) {
            let help = "Time on processors, of users and of the system";
            write(&mut encoder, "process_cpu_seconds", help, &ConstCounter::new(seconds))?;
        }
        Ok(())
    }
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Resident memory in bytes, from `/proc/self/status`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Seconds of processor time, from `/proc/self/stat`: its fields 14 and 15 (`proc_pid_stat(5)`).
fn cpu(stat: &str) -> Option<f64> {
    // The second field is the name of the program, which may hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   5120 kB\nRssAnon:\t1 kB\n"), Some(5_242_880));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn processor_time() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 900 0 3 0 123 77 0 0 20 0 3 0 100 1 2";
        assert_eq!(cpu(stat), Some(2.0));
        assert_eq!(cpu("7 (a"), None);
    }

    #[test]
    fn of_this_process() {
        let status = read_to_string("/proc/self/status").unwrap();
        assert!(resident(&status).unwrap() > 1 << 20);
        assert!(cpu(&read_to_string("/proc/self/stat").unwrap()).is_some());
    }
}
