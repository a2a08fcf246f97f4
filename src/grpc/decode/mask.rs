//! Update masks (AIP-134): which fields of a resource a call changes.

use std::collections::BTreeSet;

use crate::domain::error::{Error, Result};

/// The fields of a kind of resource, as paths.
pub struct Fields {
    /// What may be changed. A path below another one stands for a part of it.
    pub mutable: &'static [&'static str],
    /// What there is besides, for an error that says more than "unknown".
    pub fixed: &'static [&'static str],
}

/// The fields to change.
#[derive(Debug)]
pub struct Mask {
    paths: BTreeSet<String>,
    is_star: bool,
}

impl Mask {
    /// Reads an `update_mask`. One that is absent or empty means `populated`, `*` means every mutable field.
    pub fn read(
        given: Option<prost_types::FieldMask>,
        fields: &Fields,
        populated: impl IntoIterator<Item = (&'static str, bool)>,
    ) -> Result<Self> {
        let paths = given.map(|mask| mask.paths).unwrap_or_default();
        if paths.is_empty() {
            let set = populated.into_iter().filter(|(_, is_set)| *is_set).map(|(path, _)| path.to_owned());
            return Ok(Mask { paths: set.collect(), is_star: false });
        }
        if paths.iter().any(|path| path == "*") {
            if paths.len() > 1 {
                return Err(Error::invalid("update_mask", "* stands alone"));
            }
            let paths = fields.mutable.iter().map(|path| (*path).to_owned()).collect();
            return Ok(Mask { paths, is_star: true });
        }
        for (i, path) in paths.iter().enumerate() {
            if fields.mutable.contains(&path.as_str()) {
                continue;
            }
            // Only a known path is told back: anything may be in another one.
            let rule = match fields.fixed.iter().find(|fixed| *fixed == path) {
                Some(fixed) => format!("{fixed} cannot be changed"),
                None => format!("path {i} is not a field that can be changed"),
            };
            return Err(Error::invalid("update_mask", rule));
        }
        Ok(Mask { paths: paths.into_iter().collect(), is_star: false })
    }

    /// Whether everything was named at once, what the resource has no use for included.
    pub fn is_star(&self) -> bool {
        self.is_star
    }

    /// Whether this field is to be changed, by itself or with what it is a part of.
    pub fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|given| path == given || is_below(path, given))
    }

    /// Whether this field or a part of it is to be changed.
    pub fn touches(&self, path: &str) -> bool {
        self.covers(path) || self.paths.iter().any(|given| is_below(given, path))
    }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields = Fields { mutable: &["name", "policy", "policy.period"], fixed: &["uid"] };

    fn read(paths: &[&str]) -> Result<Mask> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Mask::read(Some(prost_types::FieldMask { paths }), &FIELDS, [("name", true), ("policy", false)])
    }

    #[test]
    fn an_empty_mask_means_what_is_populated() {
        let mask = read(&[]).expect("valid");
        assert!(mask.covers("name") && !mask.touches("policy"));
    }

    #[test]
    fn a_star_means_everything() {
        let mask = read(&["*"]).expect("valid");
        assert!(mask.covers("name") && mask.covers("policy") && mask.covers("policy.period"));
    }

    #[test]
    fn a_part_is_covered_by_its_whole_and_only_touches_it() {
        let mask = read(&["policy.period"]).expect("valid");
        assert!(mask.covers("policy.period") && mask.touches("policy") && !mask.covers("policy"));
        assert!(read(&["policy"]).expect("valid").covers("policy.period"));
        assert!(!mask.touches("pol"));
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [&["uid"][..], &["colour"], &[""], &["*", "name"], &["Name"], &["name."], &["name", "policy.x"]] {
            let error = read(bad).expect_err("refused");
            assert_eq!(error.fields()[0].field, "update_mask", "{bad:?}");
        }
    }
}
