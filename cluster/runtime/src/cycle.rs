//! Objects that wait for each other.

use std::collections::HashSet;

/// Namespace and name.
type Key = (String, String);

/// The way from `start` back to itself, if its dependencies lead there: `a/x -> a/y -> a/x`.
pub fn cycle(start: &Key, dependencies: impl Fn(&Key) -> Vec<Key>) -> Option<String> {
    // Depth first with the path to each node; every node is entered once.
    let mut seen = HashSet::new();
    let mut open = vec![vec![start.clone()]];
    while let Some(path) = open.pop() {
        let last = path.last().expect("a path begins with the start");
        for next in dependencies(last) {
            let mut longer = path.clone();
            longer.push(next.clone());
            if next == *start {
                let names: Vec<String> = longer.iter().map(|(ns, name)| format!("{ns}/{name}")).collect();
                return Some(names.join(" -> "));
            }
            if seen.insert(next) {
                open.push(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_found_and_named() {
        let graph = |key: &Key| -> Vec<Key> {
            let next = |names: &[&str]| names.iter().map(|name| ("n".to_owned(), (*name).to_owned())).collect();
            match key.1.as_str() {
                "a" => next(&["b", "c"]),
                "b" => next(&["d"]),
                "c" => next(&["d", "e"]),
                "e" => next(&["a"]),
                "x" => next(&["x"]),
                "p" => next(&["a"]),
                _ => vec![],
            }
        };
        let of = |name: &str| cycle(&("n".to_owned(), name.to_owned()), graph);
        assert_eq!(of("a").as_deref(), Some("n/a -> n/c -> n/e -> n/a"));
        assert_eq!(of("x").as_deref(), Some("n/x -> n/x"));
        assert_eq!(of("d"), None);
        assert_eq!(of("p"), None, "it leads into a cycle but is not part of it");
    }
}
