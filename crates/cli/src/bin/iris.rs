//! `iris`: see `iris --help`.

use std::process::ExitCode;

use clap::Parser as _;
use iris_cli::args::Iris;
use iris_cli::{Output, run_iris};

fn main() -> ExitCode {
    let iris = Iris::parse();
    let output = Output::of_process(iris.global.json);
    run_iris(iris, output)
}
