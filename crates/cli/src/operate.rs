//! `kubectl iris`: what operators see of Iris, and what they order.
//!
//! Everything is an object of `iris.dev` that `kubectl` could read or write as well.

mod abort;
pub mod args;
mod cluster;
mod follow;
mod migrate;
mod plan;
mod problems;
mod status;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::failure::Failure;
use crate::output::Output;

use args::{Command, Global, KubectlIris};

/// Runs one command to its end. A failure was told when this returns.
pub fn run(arguments: KubectlIris, mut output: Output) -> ExitCode {
    let KubectlIris { global, command } = arguments;
    let result = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(perform(&global, command, &mut output)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

async fn perform(global: &Global, command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Status(args) => Box::pin(status::run(global, &args, output)).await,
        Command::Migrate(args) => Box::pin(migrate::run(global, args, output)).await,
        Command::Abort(args) => Box::pin(abort::run(global, &args, output)).await,
        Command::Completion(args) => {
            let mut script = Vec::new();
            let mut command = KubectlIris::command();
            clap_complete::generate(args.shell, &mut command, "kubectl-iris", &mut script);
            output.raw(&script)
        }
    }
}
