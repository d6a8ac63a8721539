//! Finds the name that was probably meant, and lists names for advice.

/// The name in `known` most like `name`, when it is like enough to be a slip.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(name.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Advice for an unknown name: the nearest one, or all of them, or `None` when there are none.
pub(crate) fn advice<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    match nearest(name, known.clone()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => list(known).map(|names| format!("known: {names}")),
    }
}

/// The names in backticks, separated by commas; `None` when there are none.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        assert_eq!(nearest("usrename", ["username", "limit"]), Some("username"));
        assert_eq!(nearest("Username", ["username"]), Some("username"));
        assert_eq!(nearest("colour", ["username", "limit"]), None);
    }

    #[test]
    fn advice_lists_all_names_when_none_is_near() {
        assert_eq!(advice("colour", ["username", "limit"]).as_deref(), Some("known: `username`, `limit`"));
        assert_eq!(advice("colour", []), None);
    }
}
