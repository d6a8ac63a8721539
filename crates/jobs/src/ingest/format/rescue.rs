//! What did not fit, as the JSON object of `_rescued`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What did not fit of one row. `reason` comes first; a value under `fields` is the JSON that was delivered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Rescue {
    reason: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extra: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<String>,
}

impl Rescue {
    pub(super) fn is_empty(&self) -> bool {
        self.reason.is_empty()
    }

    /// Adds a reason; one that is given already is not repeated.
    pub(super) fn because(&mut self, reason: impl AsRef<str>) {
        let reason = reason.as_ref();
        if self.reason.split("; ").any(|r| r == reason) {
            return;
        }
        if !self.reason.is_empty() {
            self.reason.push_str("; ");
        }
        self.reason.push_str(reason);
    }

    /// Keeps `json`, the value at `path` that has no place in its column.
    pub(super) fn field(&mut self, path: &str, json: &str) {
        let value = RawValue::from_string(json.to_owned()).ok().or_else(|| as_json(json));
        let key = (1..)
            .map(|n| if n == 1 { path.to_owned() } else { format!("{path} ({n})") })
            .find(|key| !self.fields.contains_key(key))
            .unwrap_or_default();
        if let Some(value) = value {
            self.fields.insert(key, value);
        }
    }

    /// Keeps `text`, the value at `path`.
    pub(super) fn text_field(&mut self, path: &str, text: &str) {
        if let Some(json) = as_json(text) {
            self.field(path, json.get());
        }
    }

    /// Keeps a CSV field that no column was named for.
    pub(super) fn extra(&mut self, field: &str) {
        self.extra.push(field.to_owned());
    }

    /// Keeps a whole record, with replacement characters where it is not UTF-8.
    pub(super) fn record(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if matches!(text, Cow::Owned(_)) {
            self.encoding = Some("invalid utf-8".to_owned());
        }
        self.record = Some(text.into_owned());
    }

    /// Tells the length in bytes of a record of which only the start is kept.
    pub(super) fn length(&mut self, bytes: u64) {
        self.length = Some(bytes);
    }

    /// The JSON object; empties this for the next row.
    pub(super) fn take(&mut self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        *self = Self::default();
        json
    }

    /// Adds what `earlier`, the JSON of this row from before, has.
    pub(super) fn merge(&mut self, earlier: &str) {
        let Ok(earlier) = serde_json::from_str::<Rescue>(earlier) else { return };
        let later = std::mem::replace(self, earlier);
        self.because(&later.reason);
        for (path, value) in &later.fields {
            self.field(path, value.get());
        }
        self.extra.extend(later.extra);
        self.encoding = later.encoding.or(self.encoding.take());
        self.length = later.length.or(self.length);
        self.record = later.record.or(self.record.take());
    }
}

fn as_json(value: &str) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_digit_by_digit() {
        let mut rescue = Rescue::default();
        rescue.because("`a` is text where objects were");
        rescue.field("a", "12345678901234567890.10");
        rescue.field("a", r#""second""#);
        assert_eq!(
            rescue.take(),
            r#"{"reason":"`a` is text where objects were","fields":{"a":12345678901234567890.10,"a (2)":"second"}}"#
        );
        assert!(rescue.is_empty());
    }

    #[test]
    fn a_record_that_is_not_utf_8_says_so() {
        let mut rescue = Rescue::default();
        rescue.because("not JSON");
        rescue.record(b"{\xff}");
        assert_eq!(rescue.take(), "{\"reason\":\"not JSON\",\"encoding\":\"invalid utf-8\",\"record\":\"{\u{fffd}}\"}");
    }

    #[test]
    fn merging_keeps_both() {
        let mut first = Rescue::default();
        first.because("3 fields, expected 2");
        first.extra("c");
        first.field("n", "1.10");
        let first = first.take();
        let mut second = Rescue::default();
        second.because("`b` does not fit");
        second.field("b", "2");
        second.merge(&first);
        assert_eq!(
            second.take(),
            r#"{"reason":"3 fields, expected 2; `b` does not fit","fields":{"b":2,"n":1.10},"extra":["c"]}"#
        );
    }
}
