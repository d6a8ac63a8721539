//! What a service says is wrong, without anything of the texts or the key.

use serde_json::Value;

/// The most of a message that is read, and that is shown.
const MOST_READ: usize = 1000;
const MOST_SHOWN: usize = 200;

/// Words of services' own, shown even when a text has them too.
const OWN: &str = "a above actual additional allowed already an and any api are array at available bad base64 batch be because been \
                   before below billing body busy but by byte bytes can cannot capacity char characters check chunk client code configured \
                   connection contains content context correct could count credit current currently data deployment dimension dimensions \
                   disabled does doesn due each either element elements embed embedding embeddings empty enabled encoding endpoint enough \
                   equal error exceed exceeded exceeding exceeds exceptions exist expected fail failed false field fields find fit float \
                   following for format found from got greater had has have however if in increase index input inputs instead int integer \
                   internal into invalid is it its item items json key large larger least length less limit limited list load loaded long \
                   longer loading lower match matching max maximum may message messages min minimum missing model models more most must name \
                   no not null number object of on one only or organization out over overloaded parameter parse parsed passed payload per \
                   permission permitted physical plan please process processing prompt provide provided quota rate reached reason reduce \
                   reduced request requested requests require required resource resulted s sequence server service set shape short should \
                   single size smaller some specified specify split status string strings support supported t temporarily text texts than \
                   that the this timeout to token tokenizer tokens too true try type unable unauthorized unavailable unexpected unknown \
                   unprocessable unsupported upstream usage use used user valid value values vector was we were when which while with within \
                   wrong you your";

/// An answer that is an error.
#[derive(Default)]
pub(super) struct Complaint {
    message: String,
    /// The parameter that is wrong.
    pub(super) parameter: Option<String>,
    /// A short word for the kind of error.
    pub(super) code: Option<String>,
}

impl Complaint {
    /// What the body of an answer says, in the shapes that OpenAI, Ollama, vLLM, TEI and others have for it.
    pub(super) fn parse(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let error = body.get("error").filter(|e| !e.is_null()).unwrap_or(&body);
        let word = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let message = error.as_str().map(str::to_owned);
        let message = message.or_else(|| word(error, "message")).or_else(|| word(error, "detail")).unwrap_or_default();
        let code = word(error, "code").or_else(|| word(error, "type"));
        Self { message, parameter: word(error, "param"), code }
    }

    /// Whether it says that the input is too much.
    pub(super) fn is_about_size(&self) -> bool {
        let message = self.message.to_lowercase();
        ["too large", "too long", "context length", "maximum length"].iter().any(|sign| message.contains(sign))
    }

    /// The message, short, with `…` for words that the texts or the key have too and that are no usual words of services. `model` may be
    /// shown. `None` when nothing is left.
    pub(super) fn shown(&self, model: &str, texts: &[&str], key: Option<&str>) -> Option<String> {
        let message: String = self.message.chars().take(MOST_READ).collect();
        // Escaped letters hide where the words of a text begin and end, and can be read all the same.
        if ["\\", "%", "&#"].iter().any(|escape| message.contains(escape)) {
            return None;
        }
        let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
        let whole_key = key.map(str::to_lowercase).unwrap_or_default();
        let key_parts: Vec<String> = words(&whole_key).into_iter().filter(|part| part.len() >= 4).collect();
        let model_words = words(model);
        let may_show = |word: &str| {
            let word = word.to_lowercase();
            let is_own = OWN.split_ascii_whitespace().any(|own| own == word) || model_words.contains(&word);
            let is_private = !word.is_ascii()
                || texts.iter().any(|text| text.contains(&word))
                || (word.len() > 2 && whole_key.contains(&word))
                || key_parts.iter().any(|part| word.contains(part));
            is_own || !is_private
        };
        let masked = masked(&message, may_show);
        let mut shown: String = masked.chars().take(MOST_SHOWN).collect();
        if shown.len() < masked.len() {
            shown.push('…');
        }
        shown.contains(char::is_alphanumeric).then_some(shown)
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

/// `message` on one line, with `…` for each row of words that may not be shown.
fn masked(message: &str, may_show: impl Fn(&str) -> bool) -> String {
    let is_sign = |c: char| c.is_ascii_punctuation() || c.is_ascii_whitespace() || c.is_ascii_control();
    let (mut shown, mut rest, mut hidden) = (String::new(), message, None::<String>);
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.find(is_sign).unwrap_or(rest.len()));
        let (signs, next) = behind.split_at(behind.find(|c| !is_sign(c)).unwrap_or(behind.len()));
        let signs: String = signs.chars().map(|c| if c.is_ascii_punctuation() { c } else { ' ' }).collect();
        if word.is_empty() || may_show(word) {
            shown.push_str(&hidden.take().unwrap_or_default());
            shown.push_str(word);
            shown.push_str(&signs);
        } else {
            if hidden.is_none() {
                shown.push('…');
            }
            hidden = Some(signs);
        }
        rest = next;
    }
    shown.push_str(&hidden.unwrap_or_default());
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str, texts: &[&str]) -> Option<String> {
        Complaint::parse(body.as_bytes()).shown("text-embedding-3-small", texts, Some("sk-Hidden-1234"))
    }

    #[test]
    fn messages_of_all_services_are_read() {
        let cases = [
            r#"{"error":{"message":"input is too large","type":"invalid"}}"#,
            r#"{"error":"input is too large"}"#,
            r#"{"object":"error","message":"input is too large"}"#,
            r#"{"error":null,"detail":"input is too large"}"#,
        ];
        for body in cases {
            assert_eq!(shown(body, &["hello"]).as_deref(), Some("input is too large"));
        }
        assert_eq!(shown("<html>", &[]), None);
    }

    #[test]
    fn words_of_the_texts_are_left_out() {
        let message = |m: &str| serde_json::json!({ "error": { "message": m } }).to_string();
        let text = "Please call Jane Doe, card 4111 1111; the maximum is 42. Ünal";
        let cases = [
            ("invalid input: Jane Doe", Some("invalid input: …")),
            ("invalid input: 'JANE, doe' of 9 texts", Some("invalid input: '…' of 9 texts")),
            ("card 4111-1111 has more than 8192 tokens", Some("… has more than 8192 tokens")),
            ("too long: Jan", Some("too long: …")),
            ("this model's maximum context length is 8192 tokens", Some("this model's maximum context length is 8192 tokens")),
            ("invalid: \\u00dcnal", None),
            ("invalid: Please\\nJane", None),
            ("invalid: Jane%20Doe", None),
            ("Ünal", None),
            ("Jane", None),
        ];
        for (said, expected) in cases {
            assert_eq!(shown(&message(said), &["other", text]).as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn the_key_is_left_out_and_the_model_is_not() {
        let body = r#"{"message":"wrong key sk-Hidden-1234 (hidden***34, xHidden) for text-embedding-3-small"}"#;
        assert_eq!(shown(body, &[]).as_deref(), Some("wrong key sk-…***34, …) for text-embedding-3-small"));
    }

    #[test]
    fn long_messages_are_cut() {
        let body = serde_json::json!({ "error": "much ".repeat(500) }).to_string();
        assert_eq!(shown(&body, &[]).unwrap().chars().count(), 201);
    }
}
