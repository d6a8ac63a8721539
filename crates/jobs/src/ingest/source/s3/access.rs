//! What a bucket of sources is reached with: its own settings, those of all sources, or the lake's; never a mixture of the lake's and others.

use std::collections::HashMap;

use lake::diagnostic::nearest;
use lake::{Error, ErrorKind, Result};
use object_store::aws::AmazonS3ConfigKey;

/// Settings of the client that are not of `object_store`.
const OTHERS: [&str; 1] = ["AWS_CA_BUNDLE"];

/// How long to try again is the same for all stores.
const PATIENCE: &str = lake::storage::RETRY_OPTION;

/// What says who asks. A bucket that has one of its own has none of the others of all sources.
const CREDENTIALS: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
    "AWS_SKIP_SIGNATURE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Names that error messages suggest.
const USUAL: [&str; 7] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_SKIP_SIGNATURE",
    "AWS_CA_BUNDLE",
];

/// The settings that a bucket is reached with. Holds secrets, so it has no `Debug`.
pub(super) struct Access {
    /// For the client, by the names that it knows.
    pub(super) options: HashMap<String, String>,
    /// What stands before those names in the environment: `SOURCE_`, or nothing where they are the lake's.
    pub(super) prefix: &'static str,
    /// What stands before those names for this bucket alone.
    pub(super) own_prefix: String,
}

impl Access {
    /// `sources` are the variables that start with `SOURCE_`, `lake` the options of the lake's own store.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a variable of this bucket or of all sources that sets nothing.
    pub(super) fn resolve(bucket: &str, sources: &HashMap<String, String>, lake: &HashMap<String, String>) -> Result<Self> {
        let own_prefix = format!("SOURCE_{}_", variable_part(bucket));
        let mut own = HashMap::new();
        let mut shared = HashMap::new();
        for (variable, value) in sources.iter().filter(|(_, value)| !value.trim().is_empty()) {
            if let Some(name) = variable.strip_prefix(&own_prefix).filter(|n| n.starts_with("AWS_") && !is_of_another(n)) {
                own.insert(known(variable, name)?, value.clone());
            } else if let Some(name) = variable.strip_prefix("SOURCE_").filter(|n| n.starts_with("AWS_") && !is_of_another(n)) {
                shared.insert(known(variable, name)?, value.clone());
            }
        }
        if own.is_empty() && shared.is_empty() {
            return Ok(Self { options: lake.clone(), prefix: "", own_prefix });
        }
        let own_credentials = own.keys().any(|name| is_credential(name));
        shared.retain(|name, _| !(own_credentials && is_credential(name)));
        shared.extend(own);
        shared.extend(lake.get(PATIENCE).map(|patience| (PATIENCE.to_owned(), patience.clone())));
        Self { options: shared, prefix: "SOURCE_", own_prefix }.checked(bucket)
    }

    /// The variables that would hold the keys.
    pub(super) fn key_variables(&self) -> String {
        let own = &self.own_prefix;
        format!(
            "`SOURCE_AWS_ACCESS_KEY_ID` and `SOURCE_AWS_SECRET_ACCESS_KEY` (for this bucket alone: `{own}AWS_ACCESS_KEY_ID` and so on)"
        )
    }

    /// Without keys the client would look for some in the environment and the user's files, and find the lake's.
    fn checked(self, bucket: &str) -> Result<Self> {
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].iter().all(|name| self.options.contains_key(*name));
        let public = self.options.get("AWS_SKIP_SIGNATURE").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        if !keys && !public {
            return Err(Error::new(ErrorKind::Config, format!("there are no keys for the bucket `{bucket}`")).with_hint(format!(
                "set {}; for a public bucket set `SOURCE_AWS_SKIP_SIGNATURE=true`; the lake's own keys are not used, since some `SOURCE_` \
                 variable is set",
                self.key_variables()
            )));
        }
        Ok(self)
    }
}

/// The name of a bucket as a part of a variable's name.
fn variable_part(bucket: &str) -> String {
    bucket.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name)
}

/// Whether what follows `SOURCE_` or `SOURCE_<BUCKET>_` is the end of a variable of a bucket with a longer name, such as `aws`.
fn is_of_another(name: &str) -> bool {
    name.match_indices("_AWS_").any(|(at, _)| is_known(&name[at + 1..])) && !is_known(name)
}

fn is_known(name: &str) -> bool {
    OTHERS.contains(&name) || name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().is_ok()
}

/// `name`, when it is one that the client knows. One that is misspelt must not pass for none.
fn known(variable: &str, name: &str) -> Result<String> {
    if is_known(name) {
        return Ok(name.to_owned());
    }
    let hint = match nearest(name, USUAL) {
        Some(near) => format!("did you mean `{}{near}`?", variable.strip_suffix(name).unwrap_or_default()),
        None => format!("the usual ones are `SOURCE_{}`", USUAL.join("`, `SOURCE_")),
    };
    Err(Error::new(ErrorKind::Config, format!("`{variable}` is no setting of a source")).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    fn resolved(bucket: &str, sources: &[(&str, &str)]) -> Vec<(String, String)> {
        let lake = map(&[("AWS_ACCESS_KEY_ID", "lake"), ("AWS_SECRET_ACCESS_KEY", "lake"), ("AWS_ENDPOINT_URL", "http://lake")]);
        let mut options: Vec<_> = Access::resolve(bucket, &map(sources), &lake).unwrap().options.into_iter().collect();
        options.sort();
        options
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn without_settings_of_sources_the_lakes_apply() {
        let lake =
            pairs(&[("AWS_ACCESS_KEY_ID", "lake"), ("AWS_ENDPOINT_URL", "http://lake"), ("AWS_SECRET_ACCESS_KEY", "lake")]);
        assert_eq!(resolved("feeds", &[]), lake);
        assert_eq!(resolved("feeds", &[("SOURCE_DATE_EPOCH", "1"), ("SOURCE_OTHER_AWS_REGION", "eu")]), lake);
        assert_eq!(resolved("feeds", &[("SOURCE_AWS_REGION", " ")]), lake);
    }

    #[test]
    fn one_setting_of_sources_keeps_all_of_the_lakes_away() {
        let public = pairs(&[("AWS_SKIP_SIGNATURE", "true")]);
        assert_eq!(resolved("feeds", &[("SOURCE_AWS_SKIP_SIGNATURE", "true")]), public);
        assert_eq!(resolved("my.feeds-1", &[("SOURCE_MY_FEEDS_1_AWS_SKIP_SIGNATURE", "true")]), public);
    }

    #[test]
    fn a_buckets_own_settings_win_and_its_keys_come_whole() {
        let shared = [
            ("SOURCE_AWS_ACCESS_KEY_ID", "all"),
            ("SOURCE_AWS_SECRET_ACCESS_KEY", "all"),
            ("SOURCE_AWS_SESSION_TOKEN", "all"),
            ("SOURCE_AWS_ENDPOINT_URL", "http://all"),
        ];
        let own = [("SOURCE_FEEDS_AWS_ACCESS_KEY_ID", "own"), ("SOURCE_FEEDS_AWS_SECRET_ACCESS_KEY", "own")];
        let both: Vec<_> = shared.iter().chain(&own).copied().collect();
        let expected = [("AWS_ACCESS_KEY_ID", "own"), ("AWS_ENDPOINT_URL", "http://all"), ("AWS_SECRET_ACCESS_KEY", "own")];
        assert_eq!(resolved("feeds", &both), pairs(&expected));
        assert_eq!(resolved("others", &both).len(), 4);
        assert!(resolved("others", &both).iter().all(|(_, value)| value.ends_with("all")));
        let public: Vec<_> = shared.iter().chain(&[("SOURCE_FEEDS_AWS_SKIP_SIGNATURE", "true")]).copied().collect();
        assert_eq!(resolved("feeds", &public), pairs(&[("AWS_ENDPOINT_URL", "http://all"), ("AWS_SKIP_SIGNATURE", "true")]));
    }

    #[test]
    fn a_bucket_may_be_called_aws_or_hold_the_letters() {
        let public = pairs(&[("AWS_SKIP_SIGNATURE", "true")]);
        assert_eq!(resolved("aws", &[("SOURCE_AWS_AWS_SKIP_SIGNATURE", "true")]), public);
        assert_eq!(resolved("x-aws-y", &[("SOURCE_X_AWS_Y_AWS_SKIP_SIGNATURE", "true")]), public);
        assert_eq!(resolved("x", &[("SOURCE_X_AWS_Y_AWS_SKIP_SIGNATURE", "true")]).len(), 3);
        assert_eq!(resolved("x", &[("SOURCE_AWS_AWS_SKIP_SIGNATURE", "true")]).len(), 3);
    }

    #[test]
    fn a_misspelt_setting_is_told_with_the_right_one() {
        let error = Access::resolve("b", &map(&[("SOURCE_B_AWS_ACCES_KEY_ID", "hunter2")]), &map(&[])).err().unwrap();
        assert_eq!(error.to_string(), "`SOURCE_B_AWS_ACCES_KEY_ID` is no setting of a source");
        assert_eq!(error.hint(), Some("did you mean `SOURCE_B_AWS_ACCESS_KEY_ID`?"));
    }

    #[test]
    fn settings_without_keys_are_told_before_anything_is_asked() {
        for (name, value) in [
            ("SOURCE_AWS_ENDPOINT_URL", "http://h"),
            ("SOURCE_AWS_REGION", "eu"),
            ("SOURCE_AWS_ACCESS_KEY_ID", "half"),
            ("SOURCE_AWS_SKIP_SIGNATURE", "false"),
        ] {
            let error = Access::resolve("b", &map(&[(name, value)]), &map(&[("AWS_ACCESS_KEY_ID", "lake")])).err().unwrap();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Config, "there are no keys for the bucket `b`"));
            assert!(error.hint().unwrap().contains("`SOURCE_B_AWS_ACCESS_KEY_ID`"));
        }
    }
}
