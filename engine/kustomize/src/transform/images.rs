//! Images: new names, tags and digests.

use nave_object::yaml::Node;
use regex::Regex;

use crate::config::{Create, FieldSpec};
use crate::edit;
use crate::error::BuildError;
use crate::kustomization::Image;
use crate::resource::ResMap;

/// Applies one entry of `images`: first to every `containers` and `initContainers` anywhere in an
/// object, then to the configured fields. CustomResourceDefinitions are left alone.
pub(crate) fn set_images(resources: &mut ResMap, image: &Image, fields: &[FieldSpec]) -> Result<(), BuildError> {
    let changer = Changer::new(image)?;
    for resource in &mut resources.list {
        if resource.kind() == "CustomResourceDefinition" {
            continue;
        }
        if changer.has_containers(&resource.node) {
            changer.walk(&mut resource.node);
        }
        let gvk = resource.gvk();
        for field in fields {
            let mut set = |node: &mut Node| changer.change(node);
            if let Err(problem) = field.apply(&gvk, &mut resource.node, Create::Nothing, &mut set) {
                return Err(resource.error(problem));
            }
        }
    }
    Ok(())
}

struct Changer<'a> {
    image: &'a Image,
    pattern: Regex,
}

impl<'a> Changer<'a> {
    fn new(image: &'a Image) -> Result<Changer<'a>, BuildError> {
        // The name is a regular expression to kustomize, too, on purpose or not.
        let pattern = format!("^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$", image.name);
        let pattern = Regex::new(&pattern)
            .map_err(|_| BuildError::selection(format!("images: name `{}` is no regular expression", image.name)))?;
        Ok(Changer { image, pattern })
    }

    /// Whether any image of a container would change; a look before nodes are unshared.
    fn has_containers(&self, node: &Node) -> bool {
        match node {
            Node::Map(map) => map.iter().any(|(key, value)| {
                self.has_containers(value)
                    || is_container_list(&key.text)
                        && value.as_seq().is_some_and(|items| {
                            items.iter().any(|item| {
                                item.get("image")
                                    .is_some_and(|image| self.pattern.is_match(edit::raw_text(image)))
                            })
                        })
            }),
            Node::Seq(items) => items.iter().any(|item| self.has_containers(item)),
            Node::Scalar(_) => false,
        }
    }

    fn walk(&self, node: &mut Node) {
        if !self.has_containers(node) {
            return;
        }
        if let Some(map) = node.as_map_mut() {
            for (key, value) in map.entries_mut() {
                self.walk(value);
                if is_container_list(&key.text) {
                    for container in value.as_seq_mut().into_iter().flatten() {
                        if let Some(image) = container.as_map_mut().and_then(|map| map.get_mut("image")) {
                            // A list or map here is no image; kustomize leaves it to the server.
                            let _ = self.change(image);
                        }
                    }
                }
            }
        } else if let Some(items) = node.as_seq_mut() {
            items.iter_mut().for_each(|item| self.walk(item));
        }
    }

    fn change(&self, node: &mut Node) -> Result<(), String> {
        let Some(scalar) = node.as_scalar() else {
            return Err(format!("expected an image, found {}", node.type_name()));
        };
        if !self.pattern.is_match(&scalar.text) {
            return Ok(());
        }
        let changed = changed(&scalar.text, self.image);
        edit::set_implicit(node, changed)
    }
}

fn is_container_list(key: &str) -> bool {
    key == "containers" || key == "initContainers"
}

fn changed(text: &str, image: &Image) -> String {
    let (name, tag, digest) = split(text);
    let name = if image.new_name.is_empty() {
        name
    } else {
        &image.new_name
    };
    let (tag, digest) = match (image.new_tag.as_str(), image.digest.as_str(), image.tag_suffix.as_str()) {
        ("", "", "") => (tag.to_owned(), digest),
        ("", "", suffix) => (format!("{tag}{suffix}"), ""),
        (new_tag, new_digest, _) => (new_tag.to_owned(), new_digest),
    };
    let mut changed = name.to_owned();
    if !tag.is_empty() {
        changed.push(':');
        changed.push_str(&tag);
    }
    if !digest.is_empty() {
        changed.push('@');
        changed.push_str(digest);
    }
    changed
}

/// Name, tag and digest; a colon before the first slash belongs to the registry's port.
fn split(image: &str) -> (&str, &str, &str) {
    let start = image.find('/').filter(|place| *place > 0).unwrap_or(0);
    let at = image[start..].find('@').map(|place| place + start);
    let colon = image[start..].find(':').map(|place| place + start);
    match (at, colon) {
        (None, None) => (image, "", ""),
        (Some(at), colon) if colon.is_none_or(|colon| at < colon) => (&image[..at], "", &image[at + 1..]),
        (Some(at), Some(colon)) => (&image[..colon], &image[colon + 1..at], &image[at + 1..]),
        (None, Some(colon)) => (&image[..colon], &image[colon + 1..], ""),
        (Some(at), None) => (&image[..at], "", &image[at + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_apart() {
        for (image, parts) in [
            ("nginx", ("nginx", "", "")),
            ("nginx:1", ("nginx", "1", "")),
            ("host:5000/a/b:1", ("host:5000/a/b", "1", "")),
            ("a/b@sha256:00", ("a/b", "", "sha256:00")),
            ("a:1@sha256:00", ("a", "1", "sha256:00")),
        ] {
            assert_eq!(split(image), parts, "{image}");
        }
    }
}
