//! Iris's own pods in the quickstart's cluster: which there are, what they count, and what memory
//! they use.
//!
//! Never judges: what a figure means is its reader's business.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

use super::{Cluster, NAMESPACE};

/// The metrics of one process at one time.
#[derive(Clone, Debug)]
pub struct Sample(BTreeMap<String, f64>);

impl Sample {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// The sum of a metric over its labels; 0 for one that the process does not have.
    pub fn sum(&self, metric: &str) -> f64 {
        let named = self.0.iter().filter(|(name, _)| name.split('{').next() == Some(metric));
        named.map(|(_, value)| value).sum()
    }
}

impl Cluster {
    /// The names of the pods of a role (owner, edge, controlplane), in order.
    pub fn pods(&self, role: &str) -> Result<Vec<String>> {
        let selector = format!("iris.dev/role={role}");
        let get = ["-n", NAMESPACE, "get", "pods", "-l", &selector, "-o=name"];
        let names = self.kubectl_command().args(get).quiet().output()?;
        Ok(names.lines().map(|line| line.trim_start_matches("pod/").to_owned()).collect())
    }

    /// What a pod counts, by its admin port.
    pub fn metrics(&self, pod: &str) -> Result<Sample> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/https:{pod}:9443/proxy/metrics");
        let text = self.kubectl_command().args(["get", "--raw", &path]).quiet().output()?;
        Ok(Sample::parse(&text))
    }

    /// The sum of a metric over every pod of a role.
    pub fn metric(&self, role: &str, metric: &str) -> Result<f64> {
        let pods = self.pods(role)?;
        pods.iter().map(|pod| Ok(self.metrics(pod)?.sum(metric))).sum()
    }

    /// The memory of a container's control group in bytes, which counts the kernel's socket buffers
    /// too.
    pub fn memory(&self, pod: &str, container: &str) -> Result<u64> {
        let pids = self.container_pids(NAMESPACE, pod, container)?;
        let pid = pids.first().with_context(|| format!("{pod} has no process of {container}"))?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let (group, root) = memory_group(&groups)
            .with_context(|| format!("nothing counts the memory of {pod}: {groups}"))?;
        let dir = Path::new(root).join(group.trim_start_matches('/'));
        let v2 = dir.join("memory.current");
        let file = if v2.exists() { v2 } else { dir.join("memory.usage_in_bytes") };
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
        text.trim().parse().with_context(|| format!("{file:?} has no number: {text}"))
    }
}

/// The group that counts memory, and where its hierarchy is mounted.
fn memory_group(groups: &str) -> Option<(&str, &'static str)> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => Some((group, "/sys/fs/cgroup")),
            named if named.split(',').any(|c| c == "memory") => {
                Some((group, "/sys/fs/cgroup/memory"))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other() {
        let text = "# HELP blocks_total Blocks\nblocks_total{lane=\"0\"} 2\nblocks_total{lane=\"1\"} 3\n\
                    blocks_total_other 7\n";
        let sample = Sample::parse(text);
        assert!((sample.sum("blocks_total") - 5.0).abs() < f64::EPSILON);
        assert!(sample.sum("absent").abs() < f64::EPSILON);
    }

    #[test]
    fn the_group_of_memory_is_found_under_both_versions() {
        let first = "5:pids:/a\n4:memory:/kubepods/x\n0::/b";
        assert_eq!(memory_group(first), Some(("/kubepods/x", "/sys/fs/cgroup/memory")));
        assert_eq!(memory_group("0::/b"), Some(("/b", "/sys/fs/cgroup")));
    }
}
