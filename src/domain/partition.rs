//! AWS's partitions: what names end in, and what ARNs begin with, by Region. Only what AWS has published.

/// The partition of a Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What follows `arn:`.
    pub arn: &'static str,
    /// What the names of the API's hosts end in.
    pub api: &'static str,
    /// What comes between the prefix of a Cognito domain and the Region, and after the Region; `None` where that is not
    /// public.
    pub domains: Option<(&'static str, &'static str)>,
}

impl Partition {
    /// `None` for a Region whose partition has no published names, and for what is no Region.
    pub fn of(region: &str) -> Option<Partition> {
        let parts: Vec<&str> = region.split('-').collect();
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
        match parts.as_slice() {
            ["us", "gov", place, number] if is_word(place) && is_number(number) => Some(Partition {
                arn: "aws-us-gov",
                api: "amazonaws.com",
                domains: Some(("auth-fips", "amazoncognito.com")),
            }),
            ["cn", place, number] if is_word(place) && is_number(number) => Some(Partition {
                arn: "aws-cn",
                api: "amazonaws.com.cn",
                domains: Some(("auth", "amazoncognito.com.cn")),
            }),
            ["eusc", country, place, number] if is_word(country) && is_word(place) && is_number(number) => {
                Some(Partition { arn: "aws-eusc", api: "amazonaws.eu", domains: None })
            }
            ["us" | "eu" | "ap" | "sa" | "ca" | "me" | "af" | "il" | "mx", place, number]
                if is_word(place) && is_number(number) =>
            {
                Some(Partition { arn: "aws", api: "amazonaws.com", domains: Some(("auth", "amazoncognito.com")) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_in_the_partition_of_its_first_word() {
        let of = |region: &str| Partition::of(region).map(|partition| (partition.arn, partition.api));
        assert_eq!(of("eu-central-1"), Some(("aws", "amazonaws.com")));
        assert_eq!(of("us-gov-west-1"), Some(("aws-us-gov", "amazonaws.com")));
        assert_eq!(of("cn-north-1"), Some(("aws-cn", "amazonaws.com.cn")));
        assert_eq!(of("eusc-de-east-1"), Some(("aws-eusc", "amazonaws.eu")));
        for none in
            ["", "local", "eu-central", "eu-central-", "eu--1", "us-iso-east-1", "eu-central-1.evil", "EU-central-1"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
