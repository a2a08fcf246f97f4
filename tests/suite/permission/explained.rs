//! `keyward check --as`: the decision, which policies made it, and the exit code.

use std::path::Path;
use std::process::Output;

use super::serve;
use crate::harness::{Binary, folder};

const ORDERS: &str = "tenants/acme/clients/orders";

fn explain(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Binary::command();
    command.arg("check").arg("--config").arg(folder.join("keyward.toml")).args(arguments);
    let Output { status, stdout, stderr } = command.output().expect("keyward runs");
    let told = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("not killed"), told)
}

#[test]
fn a_decision_is_explained() {
    let (_folder, path) = folder();
    let policies = path.join("mine.cedar");
    let text = "// Not from outside.\n@id(\"inside\")\n@description(\"Production from inside only.\")\n\
                forbid (principal, action, resource)\n\
                when { resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\" &&\n  \
                !(context has source && context.source.isInRange(ip(\"10.0.0.0/8\"))) };\n";
    std::fs::write(&policies, text).expect("written");
    serve(&path, &policies);
    let configuration = path.join("keyward.toml");
    let grants = "[[callers.grant]]\ncaller = \"spiffe://example.org/tenants/{tenant}\"\n\
                  [[callers.grant]]\ncaller = \"dns:verifier.internal\"\nrole = \"verifier\"\n\
                  [[callers.grant]]\ncaller = \"dns:twice.internal\"\ntenant = \"acme\"\n\
                  [[callers.grant]]\ncaller = \"dns:twice.internal\"\ntenant = \"globex\"\n";
    let text = std::fs::read_to_string(&configuration).expect("read") + grants;
    std::fs::write(&configuration, text).expect("written");
    let own = ["--as", "spiffe://example.org/tenants/acme", "--action", "GetToken", "--on", ORDERS];
    let and = |more: &[&'static str]| [&own[..], more].concat();
    for (arguments, code, wanted) in [
        (
            own.to_vec(),
            0,
            "permitted: spiffe://example.org/tenants/acme may GetToken on tenants/acme/clients/orders\n  by built-in:",
        ),
        (own.to_vec(), 0, " own-clients: A tenant's callers"),
        (own.to_vec(), 0, "the caller is tenants/acme\n"),
        (and(&["--label", "env=prod"]), 1, "denied: "),
        (and(&["--label", "env=prod"]), 1, "mine.cedar:2 inside: Production from inside only.\n"),
        (and(&["--label", "env=prod", "--from", "10.1.2.3"]), 0, "permitted: "),
        (and(&["--label", "env=prod", "--from", "192.0.2.1"]), 1, "denied: "),
        (and(&["--scopes", "orders/read,orders/write"]), 0, "permitted: "),
        (
            vec!["--as", "client:tenants/acme/clients/billing", "--action", "GetToken", "--on", ORDERS],
            1,
            "no policy permits it",
        ),
        (vec!["--as", "dns:x", "--action", "ListPools"], 1, "may not ListPools on the platform\n"),
        (vec!["--as", "dns:verifier.internal", "--action", "VerifyToken"], 0, "the caller is verifier\n"),
        (vec!["--as", "dns:twice.internal", "--action", "VerifyToken"], 2, "callers.grant: two of them make dns:twice"),
        (vec!["--as", "operator:dev", "--action", "ListPools"], 0, "by built-in:"),
        (vec!["--as", "dns:x", "--action", "ListPool"], 2, "--action: there is no method ListPool"),
        (vec!["--as", "somebody", "--action", "ListPools"], 2, "must be spiffe://"),
        (vec!["--as", "dns:x"], 2, "--action"),
        (vec!["--action", "ListPools"], 2, "--as"),
    ] {
        let (ended, told) = explain(&path, &arguments);
        assert_eq!(ended, code, "{arguments:?}: {told}");
        assert!(told.contains(wanted), "{arguments:?}: {wanted:?} is not in {told}");
    }
}
