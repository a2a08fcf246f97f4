//! The fields of everything that is stored, against those that are written down in `fields.txt`.
//!
//! A broker that rewrites a record drops what it does not know of it. So whatever changes here, a field more included, is
//! another form: see `domain::form`. The list is made from the source, and every type that can be written as JSON counts.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Where stored types are. Those of other places are not stored, or not by brokers of a fleet.
const FILES: &[&str] = &[
    "src/domain/audit.rs",
    "src/domain/caller.rs",
    "src/domain/client.rs",
    "src/domain/credential.rs",
    "src/domain/id.rs",
    "src/domain/interactive.rs",
    "src/domain/journal.rs",
    "src/domain/lease.rs",
    "src/domain/moving.rs",
    "src/domain/pool.rs",
    "src/domain/provider.rs",
    "src/domain/quota.rs",
    "src/domain/revocation.rs",
    "src/domain/rotation.rs",
    "src/domain/scope.rs",
    "src/domain/secret.rs",
    "src/domain/sign_in.rs",
    "src/domain/tenant.rs",
    "src/broker/ports.rs",
    "src/broker/records.rs",
    "src/broker/records/shelves.rs",
];

#[test]
fn no_stored_field_changes_without_another_form() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = String::new();
    for file in FILES {
        let text = std::fs::read_to_string(root.join(file)).expect("a source");
        let text = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
        stored_types(TokenStream::from_str(text).expect("Rust"), &mut found);
    }
    let list = root.join("tests/suite/forms/fields.txt");
    if std::env::var_os("KEYWARD_WRITE_FIELDS").is_some() {
        std::fs::write(&list, &found).expect("written");
    }
    let known = std::fs::read_to_string(list).expect("the list");
    let differing = found.lines().filter(|line| !known.lines().any(|other| other == *line)).collect::<Vec<_>>();
    assert!(
        found == known,
        "what is stored has changed: {differing:#?}\nIs it another form (src/domain/form.rs)? Then write the list anew, with \
         KEYWARD_WRITE_FIELDS=1."
    );
    assert!(found.lines().count() > 40, "the reader of sources is broken");
}

/// A line for each struct and enum that derives `Serialize`.
fn stored_types(tokens: TokenStream, found: &mut String) {
    let (mut attributes, mut header) = (String::new(), String::new());
    for tree in tokens {
        match &tree {
            TokenTree::Group(group) if header == "#" && group.delimiter() == Delimiter::Bracket => {
                if !group.stream().to_string().starts_with("doc") {
                    write!(attributes, "#{group} ").expect("written");
                }
                header.clear();
            }
            TokenTree::Group(group) if group.delimiter() != Delimiter::Bracket => {
                let is_type = ["struct ", "enum "].iter().any(|kind| header.contains(kind));
                let is_over = group.delimiter() == Delimiter::Brace;
                if is_type && attributes.contains("Serialize") {
                    let serde: Vec<_> = attributes.split('#').filter(|text| text.starts_with("[serde")).collect();
                    let body = without_docs(group.stream());
                    writeln!(found, "{}{} {{ {body} }}", serde.join(""), header.trim()).expect("written");
                    attributes.clear();
                    header.clear();
                } else if is_over {
                    attributes.clear();
                    header.clear();
                }
            }
            TokenTree::Punct(end) if end.as_char() == ';' => {
                attributes.clear();
                header.clear();
            }
            TokenTree::Punct(hash) if hash.as_char() == '#' => "#".clone_into(&mut header),
            TokenTree::Ident(word) if word == "pub" => header.clear(),
            other => write!(header, "{other} ").expect("written"),
        }
    }
}

fn without_docs(tokens: TokenStream) -> String {
    let mut trees = tokens.into_iter().peekable();
    let mut kept = TokenStream::new();
    while let Some(tree) = trees.next() {
        let is_hash = matches!(&tree, TokenTree::Punct(hash) if hash.as_char() == '#');
        let is_doc =
            matches!(trees.peek(), Some(TokenTree::Group(group)) if group.stream().to_string().starts_with("doc"));
        if is_hash && is_doc {
            trees.next();
        } else {
            kept.extend([tree]);
        }
    }
    kept.to_string()
}
