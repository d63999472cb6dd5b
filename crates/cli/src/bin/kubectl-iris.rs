//! `kubectl iris`: see `kubectl iris --help`.

use std::process::ExitCode;

use clap::Parser as _;
use iris_cli::operate::args::KubectlIris;
use iris_cli::{Output, operate};

fn main() -> ExitCode {
    let arguments = KubectlIris::parse();
    let output = Output::of_process(arguments.global.json);
    operate::run(arguments, output)
}
