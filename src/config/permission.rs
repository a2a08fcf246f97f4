//! `[permission]`: which policies decide what callers may do.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::setting::{HOUR, MILLI, SECOND, Setting, Value, period, text};

/// `[permission]`: the policies, in Cedar. See src/permission/keyward.cedarschema for what they can speak of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permission {
    /// A file, or a folder whose files that end with `.cedar` are meant. Absent: the built-in policies alone.
    pub policies: Option<PathBuf>,
    /// Whether the built-in policies do not apply.
    pub replace_defaults: bool,
    /// How often the policies are looked at for changes: 100 ms to 1 h.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
}

impl Default for Permission {
    fn default() -> Self {
        Permission { policies: None, replace_defaults: false, reload_interval: 10 * SECOND }
    }
}

/// Every key of the section, in the order in which they are explained.
pub(super) fn settings(permission: &Permission) -> [Setting; 3] {
    let policies = match &permission.policies {
        Some(path) => text(path.display()),
        None => Value::Unset,
    };
    [
        Setting::new("permission.policies", policies, "Cedar policies, in a file or a folder of .cedar files")
            .of("a file or a folder", |path| !path.is_empty()),
        Setting::new(
            "permission.replace_defaults",
            Value::Flag(permission.replace_defaults),
            "Whether the built-in policies do not apply",
        ),
        Setting::new(
            "permission.reload_interval",
            period(permission.reload_interval),
            "How often policies are looked at for changes",
        )
        .lasting(MILLI * 100, HOUR),
    ]
}
