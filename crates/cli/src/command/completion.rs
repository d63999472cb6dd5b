//! `iris completion`.

use clap::CommandFactory as _;

use crate::args::{Completion, Iris};
use crate::connect::Context;
use crate::failure::Failure;

pub(super) fn iris(context: &mut Context, args: &Completion) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Iris::command(), "iris", &mut script);
    context.output.raw(&script)
}
