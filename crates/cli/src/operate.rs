//! `kubectl iris`: what operators see of Iris, and what they order.
//!
//! Everything is an object of `iris.dev` that `kubectl` could read or write as well.

pub mod args;
mod cluster;
mod follow;
mod migrate;
mod plan;
mod problems;
mod status;
mod verbs;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::failure::Failure;
use crate::output::Output;

use args::{Command, Global, KubectlIris};
use verbs::Verb;

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
        Command::Approve(args) => Box::pin(verbs::approve(global, &args, output)).await,
        Command::Abort(args) => Box::pin(verbs::run(global, Verb::Abort, &args, output)).await,
        Command::Reverse(args) => Box::pin(verbs::run(global, Verb::Reverse, &args, output)).await,
        Command::Pause(args) => Box::pin(verbs::run(global, Verb::Pause, &args, output)).await,
        Command::Resume(args) => Box::pin(verbs::run(global, Verb::Resume, &args, output)).await,
        Command::Completion(args) => {
            let mut script = Vec::new();
            let mut command = KubectlIris::command();
            clap_complete::generate(args.shell, &mut command, "kubectl-iris", &mut script);
            output.raw(&script)
        }
    }
}
