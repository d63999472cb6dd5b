//! The images of the development cluster that are not Iris: the pods' first process, cluster
//! DNS, etcd and Cassandra, and what goes into them.
//!
//! Never used by a production cluster.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Image, Input, Recipe, image_of, rootfs};
use crate::{cache::Key, env::Env, tools};

const POM: &str = "dev/cassandra/pom.xml";
const PAUSE: &str = "dev/pause/pause.c";

/// Every image, built or not.
pub(crate) fn all(env: &Env) -> Result<Vec<Image>> {
    recipes(env)?.iter().map(|recipe| image_of(env, recipe)).collect()
}

/// One of the images.
pub(crate) fn image(env: &Env, name: &str) -> Result<Image> {
    let mut images = all(env)?.into_iter();
    images.find(|image| image.name == name).with_context(|| format!("no image {name}"))
}

/// How to build them.
pub(crate) fn recipes(env: &Env) -> Result<Vec<Recipe>> {
    let tools = tools::dir(env)?;
    let file = |name: &str, path: PathBuf| Input { name: name.to_owned(), path };
    let recipe = |name: &str, inputs: Vec<Input>| Recipe {
        name: name.to_owned(),
        dockerfile: env.repo_file(&format!("dev/{name}/Dockerfile")),
        target: None,
        inputs,
        base: None,
        args: Vec::new(),
    };
    let cassandra = recipe(
        "cassandra",
        vec![
            file("lib", jars_dir(env)?),
            file("conf", env.repo_file("dev/cassandra/conf")),
            file("bin", env.repo_file("dev/cassandra/bin")),
        ],
    );
    Ok(vec![
        recipe("pause", vec![file("pause", pause_dir(env)?.join("pause"))]),
        recipe("coredns", vec![file("coredns", tools.join("coredns"))]),
        recipe("etcd", vec![file("iris-etcd", tools.join("iris-etcd"))]),
        Recipe { base: Some(("JRE", rootfs::Kind::Jre)), ..cassandra },
    ])
}

/// Where Cassandra's jars are or will be.
pub(crate) fn jars_dir(env: &Env) -> Result<PathBuf> {
    Ok(env.cache.entry("cassandra", &Key::of_tree(&env.repo_file(POM))?))
}

/// Fetches Cassandra's jars, unless the cache has them.
pub(crate) fn make_jars(env: &Env) -> Result<()> {
    let pom = env.repo_file(POM);
    env.cache.make("cassandra", &Key::of_tree(&pom)?, |dir| {
        env.cmd("mvn")
            .args(["--batch-mode", "--no-transfer-progress", "-f"])
            .arg(&pom)
            .arg(format!("-Dlib={}", dir.display()))
            .arg("package")
            .run()
    })?;
    Ok(())
}

fn pause_dir(env: &Env) -> Result<PathBuf> {
    Ok(env.cache.entry("pause", &Key::of_tree(&env.repo_file(PAUSE))?))
}

/// Compiles the first process of every pod, unless the cache has it.
pub(crate) fn make_pause(env: &Env) -> Result<()> {
    let source = env.repo_file(PAUSE);
    env.cache.make("pause", &Key::of_tree(&source)?, |dir| {
        let flags = ["-static", "-nostdlib", "-fno-stack-protector", "-Os", "-s", "-o"];
        env.cmd("cc").args(flags).arg(dir.join("pause")).arg(&source).run()
    })?;
    Ok(())
}
