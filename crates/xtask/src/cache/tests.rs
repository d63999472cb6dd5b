use std::fs;

use super::{Cache, Key};

#[test]
fn a_key_depends_on_every_input_and_its_borders() {
    let base = Key::of(["ab", "c"]);
    assert_eq!(base, Key::of(["ab", "c"]));
    assert_ne!(base, Key::of(["a", "bc"]));
    assert_ne!(base, Key::of(["ab", "c", ""]));
    assert_eq!(base.to_string().len(), 12);
}

#[test]
fn a_tree_key_depends_on_names_and_contents_but_not_on_where_it_lies() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &two] {
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), "text").unwrap();
    }
    let key = Key::of_tree(one.path()).unwrap();
    assert_eq!(key, Key::of_tree(two.path()).unwrap());
    fs::rename(two.path().join("sub/file"), two.path().join("sub/other")).unwrap();
    assert_ne!(key, Key::of_tree(two.path()).unwrap());
}

#[test]
fn an_entry_is_built_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path());
    let key = Key::of(["x"]);
    let build = |dir: &std::path::Path| Ok(fs::write(dir.join("a"), "1")?);
    let entry = cache.make("tools", &key, build).unwrap();
    assert_eq!(fs::read_to_string(entry.join("a")).unwrap(), "1");
    let again = cache.make("tools", &key, |_| anyhow::bail!("built twice")).unwrap();
    assert_eq!(entry, again);
}

#[test]
fn a_failed_build_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path());
    let failing = |dir: &std::path::Path| {
        fs::write(dir.join("half"), "")?;
        anyhow::bail!("no")
    };
    assert!(cache.make("tools", &Key::of(["x"]), failing).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_purge_spares_what_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path());
    cache.make("tools", &Key::of(["x"]), |_| Ok(())).unwrap();
    fs::write(dir.path().join("letter"), "").unwrap();
    cache.purge().unwrap();
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["letter"]);
    assert!(cache.make("letters", &Key::of(["x"]), |_| Ok(())).is_err());
}
