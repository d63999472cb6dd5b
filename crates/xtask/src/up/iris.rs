//! The steps that compile Iris's own programs and bring their images into the cluster: all that
//! this checkout has.
//!
//! Never installs them: that is for Helm.

use anyhow::Result;

use super::{Job, UpStep};
use crate::images::iris::{self, PROGRAMS, Program};

/// The steps; what is there to do, cargo and the images' keys know best.
pub(super) fn steps() -> Vec<UpStep> {
    vec![
        UpStep {
            name: "iris-programs",
            what: "compiling Iris",
            after: &["packages"],
            remedy: "cargo build --release",
            is_done: |job| Ok(present(job).is_empty()),
            run: |job| iris::compile(&job.env, &present(job)).map(drop),
        },
        UpStep {
            name: "iris-images",
            what: "bringing Iris's images into the cluster",
            after: &["iris-programs", "root-file-systems", "pause-image"],
            remedy: "read the log; cargo xtask image operator",
            is_done: |job| Ok(present(job).is_empty()),
            run: images,
        },
    ]
}

fn present(job: &Job) -> Vec<Program> {
    PROGRAMS.into_iter().filter(|program| program.is_present(&job.env)).collect()
}

fn images(job: &Job) -> Result<()> {
    let compiled = iris::compile(&job.env, &present(job))?;
    let images = compiled
        .iter()
        .map(|(program, executables)| iris::image(&job.env, *program, executables))
        .collect::<Result<Vec<_>>>()?;
    job.deliver(&images.iter().collect::<Vec<_>>())
}

/// Makes the image of one program, of the given executable or of what cargo compiles, and brings
/// it into the running cluster. Gives its reference there.
pub(crate) fn deliver_one(
    job: &Job,
    target: &str,
    executable: Option<std::path::PathBuf>,
) -> Result<String> {
    let program = Program::of(target)?;
    let executables = match executable {
        Some(file) => vec![file],
        None => {
            iris::compile(&job.env, &[program])?.into_iter().flat_map(|(_, files)| files).collect()
        }
    };
    let image = iris::image(&job.env, program, &executables)?;
    job.deliver(&[&image])?;
    job.reference(target)
}
