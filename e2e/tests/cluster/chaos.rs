//! A few cells of the fault matrix; `cargo xtask chaos --all` runs all of them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use iris_e2e::chaos::catalogue::SHORT;
use iris_e2e::chaos::scene::Scene;
use iris_e2e::chaos::{cell, select, table};
use xtask::cluster::Cluster;

use crate::stage::Stage;

#[test]
fn a_few_cells_of_the_fault_matrix_heal_in_time() {
    let stage = Stage::enter();
    let stop = Arc::new(AtomicBool::new(false));
    let scene = Scene::new(Cluster::load().unwrap(), 1, stop, |line| println!("{line}"));
    let logs = tempfile::tempdir().unwrap();
    let cells = select::of(SHORT);
    let outcomes: Vec<_> =
        cells.iter().map(|one| cell::run(&scene, *one, logs.path()).unwrap()).collect();
    println!("{}", table::table(&outcomes));
    stage.healed();
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed).collect();
    // What the cluster said of a failure is looked at afterwards.
    assert!(failed.is_empty(), "{failed:?}, see {}", logs.keep().display());
    assert_eq!(outcomes.len(), SHORT.len());
}
