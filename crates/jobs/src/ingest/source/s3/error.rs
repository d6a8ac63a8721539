//! What a bucket's answer means to the one who wrote the pipeline.

use lake::{Error, ErrorKind};
use object_store::Error as StoreError;

use super::Bucket;

/// What answers to one who may not read hold.
const DENIALS: [&str; 5] = ["403 Forbidden", "401 Unauthorized", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"];

impl Bucket {
    /// Our error for one of the store's; `what` was being done.
    pub(super) fn error(&self, what: &str, error: StoreError) -> Error {
        if let StoreError::InvalidPath { .. } = &error {
            let message = format!("{what}: a key below it has a part that is empty, `.` or `..`, or a control character");
            return Error::new(ErrorKind::Storage, message)
                .with_hint("name a folder or pattern that does not hold it, or rename the object")
                .with_source(error);
        }
        let said = chain(&error);
        let explained = lake::storage::explain(what, error);
        match self.advice(&said).or_else(|| explained.hint().map(|h| self.renamed(h))) {
            Some(hint) => explained.with_hint(hint),
            None => explained,
        }
    }

    fn advice(&self, said: &str) -> Option<String> {
        if said.contains("NoSuchBucket") {
            let endpoint = self.variable("AWS_ENDPOINT_URL");
            return Some(match self.endpoint.as_deref() {
                Some(server) => {
                    format!("check the name; `{server}` has no such bucket, and another server is named by `{endpoint}`")
                }
                None => format!("check the name; a bucket that is not on AWS needs `{endpoint}`"),
            });
        }
        let elsewhere = ["AuthorizationHeaderMalformed", "PermanentRedirect", "redirect without LOCATION"];
        if elsewhere.iter().any(|code| said.contains(code)) {
            let variable = self.variable("AWS_REGION");
            return Some(match region(said) {
                Some(region) => format!("set `{variable}={region}`"),
                None => format!("set `{variable}` to the bucket's region"),
            });
        }
        // The errors of a listing are all of one kind, so the words count.
        let denied = DENIALS.iter().any(|code| said.contains(code));
        if !denied || said.contains("RequestTimeTooSkewed") || said.contains("ExpiredToken") {
            return None;
        }
        let keys = self.access.key_variables();
        Some(match self.access.prefix {
            "" => format!("the lake's own `AWS_` settings were used; give sources keys of their own with {keys}"),
            _ => format!("check {keys}: they need `s3:ListBucket` and `s3:GetObject` on `{}`", self.name),
        })
    }

    /// The variable that sets `name` for this bucket as things are.
    fn variable(&self, name: &str) -> String {
        format!("{}{name}", self.access.prefix)
    }

    /// Advice that names the lake's variables as advice that names those in use.
    fn renamed(&self, hint: &str) -> String {
        hint.replace("`AWS_", &format!("`{}AWS_", self.access.prefix))
    }
}

/// Whether the object is not the one that was listed any more.
pub(super) fn is_another_now(error: &StoreError) -> bool {
    matches!(error, StoreError::Precondition { .. } | StoreError::NotFound { .. } | StoreError::NotModified { .. })
}

/// Whether asking again may help.
pub(super) fn may_pass(error: &StoreError) -> bool {
    matches!(error, StoreError::Generic { .. } | StoreError::JoinError { .. })
}

fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push('\n');
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// The region that the store names in its answer.
fn region(said: &str) -> Option<&str> {
    let between = |before: &str, after: &[char]| {
        let rest = &said[said.find(before)? + before.len()..];
        rest.get(..rest.find(after)?)
    };
    let found = between("<Region>", &['<']).or_else(|| between("expecting '", &['\'']));
    found.filter(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_read_from_either_form_of_the_answer() {
        assert_eq!(region("the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>"), Some("eu-west-1"));
        assert_eq!(region("<Region>eu-central-1</Region>"), Some("eu-central-1"));
        assert_eq!(region("<Region></Region>"), None);
        assert_eq!(region("nothing"), None);
    }
}
