//! The steps that build what is kept in the cache: programs, jars, root file systems and the
//! images of everything that is not Iris.
//!
//! Never needs a running cluster.

use super::UpStep;
use crate::{
    images::{self, dev, rootfs},
    tools,
};

/// The steps; each but the last fetches or compiles something that no other needs.
pub(super) fn steps() -> Vec<UpStep> {
    vec![
        UpStep {
            name: "programs",
            what: "compiling Kubernetes, etcd, CoreDNS and Helm (minutes, once)",
            after: &["machine"],
            remedy: "check that `go build` works in e2e/cluster and that 6 GB of disk are free",
            is_done: |job| Ok(tools::dir(&job.env)?.exists()),
            run: |job| tools::build(&job.env),
        },
        UpStep {
            name: "jars",
            what: "fetching Cassandra",
            after: &["machine"],
            remedy: "check that Maven reaches its repository: mvn -f dev/cassandra/pom.xml validate",
            is_done: |job| Ok(dev::jars_dir(&job.env)?.exists()),
            run: |job| dev::make_jars(&job.env),
        },
        UpStep {
            name: "root-file-systems",
            what: "making the images' root file systems",
            after: &["packages"],
            remedy: "check that `apt-get update` works; mmdebstrap uses the same sources",
            is_done: |job| Ok(rootfs::ALL.iter().all(|kind| rootfs::is_made(&job.env, *kind))),
            run: |job| rootfs::ALL.iter().try_for_each(|kind| rootfs::make(&job.env, *kind)),
        },
        UpStep {
            name: "images",
            what: "building the images of what is not Iris",
            after: &["programs", "jars", "root-file-systems"],
            remedy: "read the log; `cargo xtask down --purge` clears the image builder's store",
            is_done: |job| Ok(dev::all(&job.env)?.iter().all(|image| image.archive.exists())),
            run: |job| {
                dev::make_pause(&job.env)?;
                dev::recipes(&job.env)?
                    .iter()
                    .try_for_each(|recipe| images::build(&job.env, recipe).map(drop))
            },
        },
    ]
}
