//! Addresses of hosts: nobody is asked unless the caller gives somebody to ask.

use std::sync::Arc;

use nave_chart::{LookupError, RenderRequest, Resolve, Values, render};

use crate::support::{chain, chart};

struct Book;

impl Resolve for Book {
    fn resolve(&self, host: &str) -> Result<Vec<String>, LookupError> {
        match host {
            "db.example.com" => Ok(vec!["192.0.2.7".to_owned(), "192.0.2.3".to_owned()]),
            "empty.example.com" => Ok(Vec::new()),
            _ => Err(LookupError::new("no such host")),
        }
    }
}

fn answer(host: &str, resolve: Option<Arc<dyn Resolve>>) -> Result<String, String> {
    let template = format!("address: {{{{ getHostByName {host:?} | quote }}}}\n");
    let chart = chart(&[("templates/a.yaml", &template)]);
    let mut request = RenderRequest::install("shop", "default", Values::new());
    request.resolve = resolve;
    let rendered = render(&chart, &request).map_err(|error| chain(&error))?;
    Ok(rendered.manifests[0].text.clone())
}

#[test]
fn addresses_come_from_who_was_given_and_are_the_same_every_time() {
    assert_eq!(
        answer("db.example.com", None).expect("nobody is asked").trim(),
        "address: \"\""
    );
    let book = || Some(Arc::new(Book) as Arc<dyn Resolve>);
    let found = answer("db.example.com", book()).expect("it has one");
    assert_eq!(found.trim(), "address: \"192.0.2.3\"");
    for (host, words) in [
        ("empty.example.com", "host \"empty.example.com\" has no address"),
        ("lost.example.com", "resolving \"lost.example.com\": no such host"),
    ] {
        let error = answer(host, book()).expect_err("there is none");
        assert!(error.contains(words) && error.contains("templates/a.yaml"), "{error}");
    }
}
