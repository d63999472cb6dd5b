//! Container images, each built by `buildah` from a Dockerfile into one archive in the cache,
//! under a tag made from everything that went into it: a new tag is a change, and a change is a
//! new tag.
//!
//! Never pulls an image where a base of the machine's own will do, and never tags `latest`.

pub(crate) mod deliver;
pub(crate) mod dev;
pub(crate) mod iris;
pub(crate) mod rootfs;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};

use crate::{
    cache::{Key, remove_dir},
    cmd::Cmd,
    env::Env,
};

/// The first part of every reference: no registry's name, so that nothing is ever pulled by it.
pub(crate) const PREFIX: &str = "iris.local";

/// A file or directory that goes into an image.
#[derive(Debug)]
pub(crate) struct Input {
    /// Its path in the build's context.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// How to build one image.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The image's short name.
    pub(crate) name: String,
    /// The Dockerfile.
    pub(crate) dockerfile: PathBuf,
    /// The stage to build, where there are several.
    pub(crate) target: Option<String>,
    /// The context.
    pub(crate) inputs: Vec<Input>,
    /// The build argument that takes a local base, and that base.
    pub(crate) base: Option<(&'static str, rootfs::Kind)>,
    /// Other build arguments.
    pub(crate) args: Vec<(&'static str, String)>,
}

/// An image in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its short name.
    pub(crate) name: String,
    /// Its full reference.
    pub(crate) reference: String,
    /// The OCI archive.
    pub(crate) archive: PathBuf,
}

/// The image of a recipe, whether it is built or not.
pub(crate) fn image_of(env: &Env, recipe: &Recipe) -> Result<Image> {
    let mut parts = vec![
        fs::read(&recipe.dockerfile)
            .with_context(|| format!("cannot read {:?}", recipe.dockerfile))?,
    ];
    parts.extend(recipe.target.iter().map(|target| target.clone().into_bytes()));
    for input in &recipe.inputs {
        parts.push(input.name.clone().into_bytes());
        parts.push(match input.path.strip_prefix(env.cache.root()) {
            // Its own key is part of its path already, and it may be yet to be made.
            Ok(entry) => entry.as_os_str().as_encoded_bytes().to_vec(),
            Err(_) => Key::of_tree(&input.path)?.as_ref().to_vec(),
        });
    }
    if let Some((_, base)) = &recipe.base {
        parts.push(base.key().as_ref().to_vec());
    }
    for (name, value) in &recipe.args {
        parts.push(format!("{name}={value}").into_bytes());
    }
    let key = Key::of(parts);
    let archive = env.cache.entry(&format!("image-{}", recipe.name), &key).join("image.tar");
    let reference = format!("{PREFIX}/{}:{key}", recipe.name);
    Ok(Image { name: recipe.name.clone(), reference, archive })
}

/// Builds the image of a recipe, unless the cache has it.
pub(crate) fn build(env: &Env, recipe: &Recipe) -> Result<Image> {
    let image = image_of(env, recipe)?;
    if image.archive.exists() {
        return Ok(image);
    }
    // One at a time: clearing the store away after one would take another's parts with it.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, key) = image.reference.rsplit_once(':').context("a reference without a tag")?;
    let key = Key::known(key);
    env.cache.make(&format!("image-{}", recipe.name), &key, |dir| {
        archive(env, recipe, &image.reference, &dir.join("image.tar"))
    })?;
    Ok(image)
}

/// Builds an image whose archive is kept under the given reference.
fn archive(env: &Env, recipe: &Recipe, reference: &str, file: &Path) -> Result<()> {
    let context = file.with_extension("context");
    for input in &recipe.inputs {
        copy(env, &input.path, &context.join(&input.name))?;
    }
    fs::create_dir_all(&context).with_context(|| format!("cannot make {context:?}"))?;
    let mut command = buildah(env)?
        .args(["bud", "--layers=false", "--pull-never", "-t", reference, "-f"])
        .arg(&recipe.dockerfile);
    if let Some((argument, base)) = &recipe.base {
        let base = rootfs::load(env, *base)?;
        command = command.arg("--build-arg").arg(format!("{argument}={base}"));
    }
    for (name, value) in &recipe.args {
        command = command.arg("--build-arg").arg(format!("{name}={value}"));
    }
    if let Some(target) = &recipe.target {
        command = command.args(["--target", target]);
    }
    command.arg(&context).run()?;
    let to = format!("oci-archive:{}:{reference}", file.display());
    buildah(env)?.args(["push", "--quiet", reference, &to]).run()?;
    // The archive is what is kept; the store would hold every image a second time.
    buildah(env)?.args(["rmi", "--force", reference]).run()?;
    buildah(env)?.args(["rmi", "--prune", "--force"]).succeeds();
    remove_dir(&context)
}

/// `buildah` with a store in the cache, so that it neither sees nor changes the machine's own.
/// The isolation needs no more rights than the build's own process has.
pub(crate) fn buildah(env: &Env) -> Result<Cmd> {
    let root = env.cache.root().join("buildah");
    fs::create_dir_all(&root).with_context(|| format!("cannot make {root:?}"))?;
    let config = root.join("containers.conf");
    // Kept from making the machine's own directory of networks, which no build uses.
    let networks = root.join("net.d").display().to_string();
    fs::write(&config, format!("[network]\nnetwork_config_dir = {networks:?}\n"))
        .with_context(|| format!("cannot write {config:?}"))?;
    Ok(env
        .cmd("buildah")
        .env("CONTAINERS_CONF", config)
        .env("BUILDAH_ISOLATION", "chroot")
        .arg("--root")
        .arg(root.join("store"))
        .arg("--runroot")
        .arg(root.join("run"))
        .args(["--storage-driver", "vfs"]))
}

fn copy(env: &Env, from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {parent:?}"))?;
    }
    // Links instead of copies where the file system is the same.
    let linked = env.cmd("cp").args(["-rlT"]).arg(from).arg(to).succeeds();
    if linked { Ok(()) } else { env.cmd("cp").args(["-rT"]).arg(from).arg(to).run() }
}
