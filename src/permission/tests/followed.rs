//! What is taken when files change, and what is not.

use std::os::unix::fs::symlink;

use super::*;

const CLOSED: &str = "forbid (principal, action == Keyward::Action::\"ListPools\", resource);";
const OPEN: &str =
    "permit (principal in Keyward::Role::\"verifier\", action == Keyward::Action::\"ListPools\", resource);";

fn open(path: &Path) -> Permissions {
    Permissions::open(Origin { path: Some(path.to_owned()), replace_defaults: false }).expect("valid")
}

fn operator_may(permissions: &Permissions) -> bool {
    permits(&permissions.in_force(), &with_role(Role::Operator), "ListPools", "")
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

#[test]
fn a_good_change_is_taken_once_and_what_was_decided_before_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one.cedar");
    write(&file, OPEN);
    let permissions = open(folder.path());
    let mut changes = permissions.changes();
    assert!(operator_may(&permissions));
    permissions.look();
    assert!(!changes.has_changed().expect("there"), "nothing was changed");

    write(&file, CLOSED);
    let before = permissions.in_force();
    permissions.look();
    assert!(changes.has_changed().expect("there"));
    assert!(!operator_may(&permissions));
    changes.mark_unchanged();
    permissions.look();
    assert!(!changes.has_changed().expect("there"), "it is taken once");
    // A call that began before is decided by what was in force then, as a whole.
    assert!(permits(&before, &with_role(Role::Operator), "ListPools", ""));
}

#[test]
fn a_bad_change_leaves_what_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one.cedar"), folder.path().join("two.cedar"));
    write(&one, CLOSED);
    let permissions = open(folder.path());
    let changes = permissions.changes();
    for bad in ["permit (", "permit (principal, action, resource) when { 1 };", "\u{0}"] {
        write(&one, bad);
        write(&two, OPEN);
        permissions.look();
        permissions.look();
        assert!(!operator_may(&permissions), "{bad:?}");
    }
    // What forbids does not go because nothing is left.
    std::fs::remove_file(&one).expect("removed");
    std::fs::remove_file(&two).expect("removed");
    permissions.look();
    assert!(!operator_may(&permissions));
    std::fs::remove_dir(folder.path()).expect("removed");
    permissions.look();
    assert!(!operator_may(&permissions) && !changes.has_changed().expect("there"));

    std::fs::create_dir(folder.path()).expect("made");
    write(&two, OPEN);
    permissions.look();
    assert!(operator_may(&permissions));
}

#[test]
fn a_mount_of_kubernetes_is_followed_through_its_links() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    for (version, text) in [("..2026_1", OPEN), ("..2026_2", CLOSED)] {
        std::fs::create_dir(path.join(version)).expect("made");
        write(&path.join(version).join("one.cedar"), text);
    }
    symlink("..2026_1", path.join("..data")).expect("linked");
    symlink("..data/one.cedar", path.join("one.cedar")).expect("linked");
    let permissions = open(path);
    assert!(operator_may(&permissions));
    symlink("..2026_2", path.join("..data_tmp")).expect("linked");
    std::fs::rename(path.join("..data_tmp"), path.join("..data")).expect("exchanged");
    permissions.look();
    assert!(!operator_may(&permissions));
}
