//! The commands of `iris`, one file for each.

mod about;
mod chat;
mod completion;
mod devices;
mod group;
mod history;
mod link;
mod listen;
mod log_in;
mod print;
mod ruling;
mod send;
mod watch;
mod whoami;
mod wishes;

use std::process::ExitCode;

use crate::args::{Command, Iris};
use crate::connect::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::profile::Profiles;
use crate::{dev, probe, soak};

/// Runs one command to its end. A failure was told when this returns.
pub fn run(iris: Iris, output: Output) -> ExitCode {
    let Iris { global, command } = iris;
    let mut output = output;
    let profiles = match Profiles::open(&global) {
        Ok(profiles) => profiles,
        Err(failure) => return failed(&mut output, &failure),
    };
    // A client is cheapest on one thread; a server is not.
    let mut builder = match &command {
        Command::Dev(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&mut output, &error.into()),
    };
    let mut context = Context { global, profiles, output };
    let result = runtime.block_on(perform(&mut context, command));
    // A read of standard input may be under way, and cannot be called off.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&mut context.output, &failure),
    }
}

fn failed(output: &mut Output, failure: &Failure) -> ExitCode {
    output.failure(failure);
    ExitCode::FAILURE
}

async fn perform(context: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Register(args) => log_in::run(context, args, true).await,
        Command::Login(args) => log_in::run(context, args, false).await,
        Command::Link(args) => Box::pin(link::run(context, args)).await,
        Command::Approve(args) => Box::pin(link::approve(context, args)).await,
        Command::Send(args) => Box::pin(send::run(context, args)).await,
        Command::Listen(args) => Box::pin(listen::run(context, args)).await,
        Command::Chat(args) => Box::pin(chat::run(context, args)).await,
        Command::Group(args) => Box::pin(group::run(context, args)).await,
        Command::History(args) => Box::pin(history::run(context, args)).await,
        Command::Edit(args) => Box::pin(about::edit(context, args)).await,
        Command::Delete(args) => Box::pin(about::delete(context, args)).await,
        Command::React(args) => Box::pin(about::react(context, args)).await,
        Command::Watch(args) => Box::pin(watch::run(context, args)).await,
        Command::Block(args) => Box::pin(wishes::block(context, args, true)).await,
        Command::Unblock(args) => Box::pin(wishes::block(context, args, false)).await,
        Command::Contacts(args) => Box::pin(wishes::contacts(context, args)).await,
        Command::Privacy(args) => Box::pin(wishes::privacy(context, args)).await,
        Command::Whoami(args) => Box::pin(whoami::run(context, args)).await,
        Command::Devices => Box::pin(devices::list(context)).await,
        Command::Revoke(args) => Box::pin(devices::revoke(context, args)).await,
        Command::Soak(args) => Box::pin(soak::run(context, args)).await,
        Command::Probe(args) => Box::pin(probe::run(context, args)).await,
        Command::Dev(args) => Box::pin(dev::run(context, args)).await,
        Command::Completion(args) => completion::iris(context, &args),
    }
}
