//! Iris's own pods in the quickstart's cluster: which there are, what they count, and what memory
//! they use.
//!
//! Never judges: what a figure means is its reader's business.

use std::collections::BTreeMap;

use anyhow::Result;

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

    /// The memory of a container in bytes, by its control group.
    pub fn memory(&self, pod: &str, container: &str) -> Result<u64> {
        self.container(NAMESPACE, pod, container)?.memory_bytes()
    }
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
}
