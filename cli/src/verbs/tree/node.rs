//! A tree of objects, drawn and as data.

use nave_object::ObjectId;
use serde_json::{Value, json};

/// An object and what it has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The object.
    pub id: ObjectId,
    /// In the order of the inventory.
    pub children: Vec<Node>,
}

impl Node {
    /// An object alone.
    pub fn leaf(id: ObjectId) -> Node {
        Node {
            id,
            children: Vec::new(),
        }
    }

    /// One line for each object, `Kind/namespace/name`, branches drawn before it.
    pub fn draw(&self) -> String {
        let mut text = format!("{}\n", self.id);
        self.draw_children("", &mut text);
        text
    }

    fn draw_children(&self, before: &str, text: &mut String) {
        for (index, child) in self.children.iter().enumerate() {
            let (branch, trunk) = match index + 1 == self.children.len() {
                true => ("└── ", "    "),
                false => ("├── ", "│   "),
            };
            text.push_str(&format!("{before}{branch}{}\n", child.id));
            child.draw_children(&format!("{before}{trunk}"), text);
        }
    }

    /// As flux's JSON: `{resource: {Namespace, Name, GroupKind: {Group, Kind}}, resources: […]}`.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"resource": {
            "Namespace": self.id.namespace, "Name": self.id.name,
            "GroupKind": {"Group": self.id.group, "Kind": self.id.kind},
        }});
        if !self.children.is_empty() {
            value["resources"] = self.children.iter().map(Node::to_value).collect();
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, children: Vec<Node>) -> Node {
        Node {
            id: ObjectId::parse_inventory_id(id).expect("an id"),
            children,
        }
    }

    #[test]
    fn trees_are_drawn_as_with_flux() {
        let tree = node(
            "flux-system_root_kustomize.toolkit.fluxcd.io_Kustomization",
            vec![
                node("_web__Namespace", vec![]),
                node(
                    "web_apps_kustomize.toolkit.fluxcd.io_Kustomization",
                    vec![node("web_a_apps_Deployment", vec![]), node("web_b__Service", vec![])],
                ),
                node(
                    "x_last_helm.toolkit.fluxcd.io_HelmRelease",
                    vec![node("x_c__Secret", vec![])],
                ),
            ],
        );
        assert_eq!(
            tree.draw(),
            "Kustomization/flux-system/root\n\
             ├── Namespace/web\n\
             ├── Kustomization/web/apps\n\
             │   ├── Deployment/web/a\n\
             │   └── Service/web/b\n\
             └── HelmRelease/x/last\n    \
                 └── Secret/x/c\n"
        );
        let value = tree.to_value();
        assert_eq!(
            value["resources"][0]["resource"]["GroupKind"],
            json!({"Group": "", "Kind": "Namespace"})
        );
        assert_eq!(value["resources"][1]["resources"][1]["resource"]["Name"], "b");
        assert!(value["resources"][0].get("resources").is_none());
    }
}
