//! Where Kubernetes lists are merged by key: facts from the OpenAPI description of Kubernetes 1.21.2,
//! the version that kustomize 5.8 carries. Only the types that lead to such a list are here.
//! Written by `cargo xtask tables`.

use super::Field::{self, List, Type};

/// (`apiVersion`, kind, index into [`TYPES`]), sorted.
pub(super) static KINDS: &[(&str, &str, u16)] = &[
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", 0),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", 1),
    (
        "admissionregistration.k8s.io/v1beta1",
        "MutatingWebhookConfiguration",
        2,
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        "ValidatingWebhookConfiguration",
        3,
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", 120),
    ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", 121),
    ("apiregistration.k8s.io/v1", "APIService", 123),
    ("apiregistration.k8s.io/v1beta1", "APIService", 125),
    ("apps/v1", "ControllerRevision", 4),
    ("apps/v1", "DaemonSet", 5),
    ("apps/v1", "Deployment", 8),
    ("apps/v1", "ReplicaSet", 12),
    ("apps/v1", "StatefulSet", 15),
    ("authentication.k8s.io/v1", "TokenRequest", 18),
    ("authentication.k8s.io/v1", "TokenReview", 19),
    ("authentication.k8s.io/v1beta1", "TokenReview", 20),
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview", 21),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview", 22),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview", 23),
    ("authorization.k8s.io/v1", "SubjectAccessReview", 24),
    ("authorization.k8s.io/v1beta1", "LocalSubjectAccessReview", 25),
    ("authorization.k8s.io/v1beta1", "SelfSubjectAccessReview", 26),
    ("authorization.k8s.io/v1beta1", "SelfSubjectRulesReview", 27),
    ("authorization.k8s.io/v1beta1", "SubjectAccessReview", 28),
    ("autoscaling/v1", "HorizontalPodAutoscaler", 29),
    ("autoscaling/v1", "Scale", 30),
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler", 31),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler", 32),
    ("batch/v1", "CronJob", 33),
    ("batch/v1", "Job", 35),
    ("batch/v1beta1", "CronJob", 39),
    ("certificates.k8s.io/v1", "CertificateSigningRequest", 42),
    ("certificates.k8s.io/v1beta1", "CertificateSigningRequest", 43),
    ("coordination.k8s.io/v1", "Lease", 44),
    ("coordination.k8s.io/v1beta1", "Lease", 45),
    ("discovery.k8s.io/v1", "EndpointSlice", 79),
    ("discovery.k8s.io/v1beta1", "EndpointSlice", 80),
    ("events.k8s.io/v1", "Event", 81),
    ("events.k8s.io/v1beta1", "Event", 82),
    ("extensions/v1beta1", "Ingress", 83),
    ("flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema", 84),
    ("flowcontrol.apiserver.k8s.io/v1beta1", "PriorityLevelConfiguration", 85),
    ("kustomize.config.k8s.io/v1beta1", "Kustomization", 11),
    ("networking.k8s.io/v1", "Ingress", 86),
    ("networking.k8s.io/v1", "IngressClass", 87),
    ("networking.k8s.io/v1", "NetworkPolicy", 88),
    ("networking.k8s.io/v1beta1", "Ingress", 89),
    ("networking.k8s.io/v1beta1", "IngressClass", 90),
    ("node.k8s.io/v1", "RuntimeClass", 91),
    ("node.k8s.io/v1beta1", "RuntimeClass", 92),
    ("policy/v1", "PodDisruptionBudget", 93),
    ("policy/v1beta1", "Eviction", 95),
    ("policy/v1beta1", "PodDisruptionBudget", 96),
    ("policy/v1beta1", "PodSecurityPolicy", 98),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", 99),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", 100),
    ("rbac.authorization.k8s.io/v1", "Role", 101),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", 102),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRole", 103),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding", 104),
    ("rbac.authorization.k8s.io/v1beta1", "Role", 105),
    ("rbac.authorization.k8s.io/v1beta1", "RoleBinding", 106),
    ("scheduling.k8s.io/v1", "PriorityClass", 107),
    ("scheduling.k8s.io/v1beta1", "PriorityClass", 108),
    ("storage.k8s.io/v1", "CSIDriver", 109),
    ("storage.k8s.io/v1", "CSINode", 110),
    ("storage.k8s.io/v1", "StorageClass", 112),
    ("storage.k8s.io/v1", "VolumeAttachment", 113),
    ("storage.k8s.io/v1beta1", "CSIDriver", 114),
    ("storage.k8s.io/v1beta1", "CSINode", 115),
    ("storage.k8s.io/v1beta1", "CSIStorageCapacity", 117),
    ("storage.k8s.io/v1beta1", "StorageClass", 118),
    ("storage.k8s.io/v1beta1", "VolumeAttachment", 119),
    ("v1", "Binding", 46),
    ("v1", "ComponentStatus", 47),
    ("v1", "ConfigMap", 48),
    ("v1", "Endpoints", 50),
    ("v1", "Event", 53),
    ("v1", "LimitRange", 54),
    ("v1", "Namespace", 55),
    ("v1", "Node", 57),
    ("v1", "PersistentVolume", 60),
    ("v1", "PersistentVolumeClaim", 61),
    ("v1", "Pod", 64),
    ("v1", "PodTemplate", 67),
    ("v1", "ReplicationController", 69),
    ("v1", "ResourceQuota", 72),
    ("v1", "Secret", 73),
    ("v1", "Service", 74),
    ("v1", "ServiceAccount", 75),
];

/// The names of the types, sorted; the places are those of [`TYPES`].
pub(super) static NAMES: &[&str] = &[
    "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    "io.k8s.api.admissionregistration.v1beta1.MutatingWebhookConfiguration",
    "io.k8s.api.admissionregistration.v1beta1.ValidatingWebhookConfiguration",
    "io.k8s.api.apps.v1.ControllerRevision",
    "io.k8s.api.apps.v1.DaemonSet",
    "io.k8s.api.apps.v1.DaemonSetSpec",
    "io.k8s.api.apps.v1.DaemonSetStatus",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.DeploymentSpec",
    "io.k8s.api.apps.v1.DeploymentStatus",
    "io.k8s.api.apps.v1.Kustomization",
    "io.k8s.api.apps.v1.ReplicaSet",
    "io.k8s.api.apps.v1.ReplicaSetSpec",
    "io.k8s.api.apps.v1.ReplicaSetStatus",
    "io.k8s.api.apps.v1.StatefulSet",
    "io.k8s.api.apps.v1.StatefulSetSpec",
    "io.k8s.api.apps.v1.StatefulSetStatus",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.api.authentication.v1.TokenReview",
    "io.k8s.api.authentication.v1beta1.TokenReview",
    "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    "io.k8s.api.authorization.v1.SubjectAccessReview",
    "io.k8s.api.authorization.v1beta1.LocalSubjectAccessReview",
    "io.k8s.api.authorization.v1beta1.SelfSubjectAccessReview",
    "io.k8s.api.authorization.v1beta1.SelfSubjectRulesReview",
    "io.k8s.api.authorization.v1beta1.SubjectAccessReview",
    "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.autoscaling.v2beta1.HorizontalPodAutoscaler",
    "io.k8s.api.autoscaling.v2beta2.HorizontalPodAutoscaler",
    "io.k8s.api.batch.v1.CronJob",
    "io.k8s.api.batch.v1.CronJobSpec",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.batch.v1.JobSpec",
    "io.k8s.api.batch.v1.JobStatus",
    "io.k8s.api.batch.v1.JobTemplateSpec",
    "io.k8s.api.batch.v1beta1.CronJob",
    "io.k8s.api.batch.v1beta1.CronJobSpec",
    "io.k8s.api.batch.v1beta1.JobTemplateSpec",
    "io.k8s.api.certificates.v1.CertificateSigningRequest",
    "io.k8s.api.certificates.v1beta1.CertificateSigningRequest",
    "io.k8s.api.coordination.v1.Lease",
    "io.k8s.api.coordination.v1beta1.Lease",
    "io.k8s.api.core.v1.Binding",
    "io.k8s.api.core.v1.ComponentStatus",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Container",
    "io.k8s.api.core.v1.Endpoints",
    "io.k8s.api.core.v1.EphemeralContainer",
    "io.k8s.api.core.v1.EphemeralVolumeSource",
    "io.k8s.api.core.v1.Event",
    "io.k8s.api.core.v1.LimitRange",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.NamespaceStatus",
    "io.k8s.api.core.v1.Node",
    "io.k8s.api.core.v1.NodeSpec",
    "io.k8s.api.core.v1.NodeStatus",
    "io.k8s.api.core.v1.PersistentVolume",
    "io.k8s.api.core.v1.PersistentVolumeClaim",
    "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
    "io.k8s.api.core.v1.PersistentVolumeClaimTemplate",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.PodSpec",
    "io.k8s.api.core.v1.PodStatus",
    "io.k8s.api.core.v1.PodTemplate",
    "io.k8s.api.core.v1.PodTemplateSpec",
    "io.k8s.api.core.v1.ReplicationController",
    "io.k8s.api.core.v1.ReplicationControllerSpec",
    "io.k8s.api.core.v1.ReplicationControllerStatus",
    "io.k8s.api.core.v1.ResourceQuota",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.core.v1.ServiceSpec",
    "io.k8s.api.core.v1.ServiceStatus",
    "io.k8s.api.core.v1.Volume",
    "io.k8s.api.discovery.v1.EndpointSlice",
    "io.k8s.api.discovery.v1beta1.EndpointSlice",
    "io.k8s.api.events.v1.Event",
    "io.k8s.api.events.v1beta1.Event",
    "io.k8s.api.extensions.v1beta1.Ingress",
    "io.k8s.api.flowcontrol.v1beta1.FlowSchema",
    "io.k8s.api.flowcontrol.v1beta1.PriorityLevelConfiguration",
    "io.k8s.api.networking.v1.Ingress",
    "io.k8s.api.networking.v1.IngressClass",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.networking.v1beta1.Ingress",
    "io.k8s.api.networking.v1beta1.IngressClass",
    "io.k8s.api.node.v1.RuntimeClass",
    "io.k8s.api.node.v1beta1.RuntimeClass",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
    "io.k8s.api.policy.v1.PodDisruptionBudgetStatus",
    "io.k8s.api.policy.v1beta1.Eviction",
    "io.k8s.api.policy.v1beta1.PodDisruptionBudget",
    "io.k8s.api.policy.v1beta1.PodDisruptionBudgetStatus",
    "io.k8s.api.policy.v1beta1.PodSecurityPolicy",
    "io.k8s.api.rbac.v1.ClusterRole",
    "io.k8s.api.rbac.v1.ClusterRoleBinding",
    "io.k8s.api.rbac.v1.Role",
    "io.k8s.api.rbac.v1.RoleBinding",
    "io.k8s.api.rbac.v1beta1.ClusterRole",
    "io.k8s.api.rbac.v1beta1.ClusterRoleBinding",
    "io.k8s.api.rbac.v1beta1.Role",
    "io.k8s.api.rbac.v1beta1.RoleBinding",
    "io.k8s.api.scheduling.v1.PriorityClass",
    "io.k8s.api.scheduling.v1beta1.PriorityClass",
    "io.k8s.api.storage.v1.CSIDriver",
    "io.k8s.api.storage.v1.CSINode",
    "io.k8s.api.storage.v1.CSINodeSpec",
    "io.k8s.api.storage.v1.StorageClass",
    "io.k8s.api.storage.v1.VolumeAttachment",
    "io.k8s.api.storage.v1beta1.CSIDriver",
    "io.k8s.api.storage.v1beta1.CSINode",
    "io.k8s.api.storage.v1beta1.CSINodeSpec",
    "io.k8s.api.storage.v1beta1.CSIStorageCapacity",
    "io.k8s.api.storage.v1beta1.StorageClass",
    "io.k8s.api.storage.v1beta1.VolumeAttachment",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1beta1.CustomResourceDefinition",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceStatus",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1beta1.APIService",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1beta1.APIServiceStatus",
];

/// The fields of each type, sorted by name.
pub(super) static TYPES: &[&[(&str, Field)]] = &[
    // 0: api.admissionregistration.v1.MutatingWebhookConfiguration
    &[("metadata", Type(122)), ("webhooks", List(&["name"], None))],
    // 1: api.admissionregistration.v1.ValidatingWebhookConfiguration
    &[("metadata", Type(122)), ("webhooks", List(&["name"], None))],
    // 2: api.admissionregistration.v1beta1.MutatingWebhookConfiguration
    &[("metadata", Type(122)), ("webhooks", List(&["name"], None))],
    // 3: api.admissionregistration.v1beta1.ValidatingWebhookConfiguration
    &[("metadata", Type(122)), ("webhooks", List(&["name"], None))],
    // 4: api.apps.v1.ControllerRevision
    &[("metadata", Type(122))],
    // 5: api.apps.v1.DaemonSet
    &[("metadata", Type(122)), ("spec", Type(6)), ("status", Type(7))],
    // 6: api.apps.v1.DaemonSetSpec
    &[("template", Type(68))],
    // 7: api.apps.v1.DaemonSetStatus
    &[("conditions", List(&["type"], None))],
    // 8: api.apps.v1.Deployment
    &[("metadata", Type(122)), ("spec", Type(9)), ("status", Type(10))],
    // 9: api.apps.v1.DeploymentSpec
    &[("template", Type(68))],
    // 10: api.apps.v1.DeploymentStatus
    &[("conditions", List(&["type"], None))],
    // 11: api.apps.v1.Kustomization
    &[
        ("configMapGenerator", List(&["name"], None)),
        ("secretGenerator", List(&["name"], None)),
    ],
    // 12: api.apps.v1.ReplicaSet
    &[("metadata", Type(122)), ("spec", Type(13)), ("status", Type(14))],
    // 13: api.apps.v1.ReplicaSetSpec
    &[("template", Type(68))],
    // 14: api.apps.v1.ReplicaSetStatus
    &[("conditions", List(&["type"], None))],
    // 15: api.apps.v1.StatefulSet
    &[("metadata", Type(122)), ("spec", Type(16)), ("status", Type(17))],
    // 16: api.apps.v1.StatefulSetSpec
    &[("template", Type(68))],
    // 17: api.apps.v1.StatefulSetStatus
    &[("conditions", List(&["type"], None))],
    // 18: api.authentication.v1.TokenRequest
    &[("metadata", Type(122))],
    // 19: api.authentication.v1.TokenReview
    &[("metadata", Type(122))],
    // 20: api.authentication.v1beta1.TokenReview
    &[("metadata", Type(122))],
    // 21: api.authorization.v1.LocalSubjectAccessReview
    &[("metadata", Type(122))],
    // 22: api.authorization.v1.SelfSubjectAccessReview
    &[("metadata", Type(122))],
    // 23: api.authorization.v1.SelfSubjectRulesReview
    &[("metadata", Type(122))],
    // 24: api.authorization.v1.SubjectAccessReview
    &[("metadata", Type(122))],
    // 25: api.authorization.v1beta1.LocalSubjectAccessReview
    &[("metadata", Type(122))],
    // 26: api.authorization.v1beta1.SelfSubjectAccessReview
    &[("metadata", Type(122))],
    // 27: api.authorization.v1beta1.SelfSubjectRulesReview
    &[("metadata", Type(122))],
    // 28: api.authorization.v1beta1.SubjectAccessReview
    &[("metadata", Type(122))],
    // 29: api.autoscaling.v1.HorizontalPodAutoscaler
    &[("metadata", Type(122))],
    // 30: api.autoscaling.v1.Scale
    &[("metadata", Type(122))],
    // 31: api.autoscaling.v2beta1.HorizontalPodAutoscaler
    &[("metadata", Type(122))],
    // 32: api.autoscaling.v2beta2.HorizontalPodAutoscaler
    &[("metadata", Type(122))],
    // 33: api.batch.v1.CronJob
    &[("metadata", Type(122)), ("spec", Type(34))],
    // 34: api.batch.v1.CronJobSpec
    &[("jobTemplate", Type(38))],
    // 35: api.batch.v1.Job
    &[("metadata", Type(122)), ("spec", Type(36)), ("status", Type(37))],
    // 36: api.batch.v1.JobSpec
    &[("template", Type(68))],
    // 37: api.batch.v1.JobStatus
    &[("conditions", List(&["type"], None))],
    // 38: api.batch.v1.JobTemplateSpec
    &[("metadata", Type(122)), ("spec", Type(36))],
    // 39: api.batch.v1beta1.CronJob
    &[("metadata", Type(122)), ("spec", Type(40))],
    // 40: api.batch.v1beta1.CronJobSpec
    &[("jobTemplate", Type(41))],
    // 41: api.batch.v1beta1.JobTemplateSpec
    &[("metadata", Type(122)), ("spec", Type(36))],
    // 42: api.certificates.v1.CertificateSigningRequest
    &[("metadata", Type(122))],
    // 43: api.certificates.v1beta1.CertificateSigningRequest
    &[("metadata", Type(122))],
    // 44: api.coordination.v1.Lease
    &[("metadata", Type(122))],
    // 45: api.coordination.v1beta1.Lease
    &[("metadata", Type(122))],
    // 46: api.core.v1.Binding
    &[("metadata", Type(122))],
    // 47: api.core.v1.ComponentStatus
    &[("conditions", List(&["type"], None)), ("metadata", Type(122))],
    // 48: api.core.v1.ConfigMap
    &[("metadata", Type(122))],
    // 49: api.core.v1.Container
    &[
        ("env", List(&["name"], None)),
        ("ports", List(&["containerPort", "protocol"], None)),
        ("volumeDevices", List(&["devicePath"], None)),
        ("volumeMounts", List(&["mountPath"], None)),
    ],
    // 50: api.core.v1.Endpoints
    &[("metadata", Type(122))],
    // 51: api.core.v1.EphemeralContainer
    &[
        ("env", List(&["name"], None)),
        ("volumeDevices", List(&["devicePath"], None)),
        ("volumeMounts", List(&["mountPath"], None)),
    ],
    // 52: api.core.v1.EphemeralVolumeSource
    &[("volumeClaimTemplate", Type(63))],
    // 53: api.core.v1.Event
    &[("metadata", Type(122))],
    // 54: api.core.v1.LimitRange
    &[("metadata", Type(122))],
    // 55: api.core.v1.Namespace
    &[("metadata", Type(122)), ("status", Type(56))],
    // 56: api.core.v1.NamespaceStatus
    &[("conditions", List(&["type"], None))],
    // 57: api.core.v1.Node
    &[("metadata", Type(122)), ("spec", Type(58)), ("status", Type(59))],
    // 58: api.core.v1.NodeSpec
    &[("podCIDRs", List(&[], None))],
    // 59: api.core.v1.NodeStatus
    &[
        ("addresses", List(&["type"], None)),
        ("conditions", List(&["type"], None)),
    ],
    // 60: api.core.v1.PersistentVolume
    &[("metadata", Type(122))],
    // 61: api.core.v1.PersistentVolumeClaim
    &[("metadata", Type(122)), ("status", Type(62))],
    // 62: api.core.v1.PersistentVolumeClaimStatus
    &[("conditions", List(&["type"], None))],
    // 63: api.core.v1.PersistentVolumeClaimTemplate
    &[("metadata", Type(122))],
    // 64: api.core.v1.Pod
    &[("metadata", Type(122)), ("spec", Type(65)), ("status", Type(66))],
    // 65: api.core.v1.PodSpec
    &[
        ("containers", List(&["name"], Some(49))),
        ("ephemeralContainers", List(&["name"], Some(51))),
        ("hostAliases", List(&["ip"], None)),
        ("imagePullSecrets", List(&["name"], None)),
        ("initContainers", List(&["name"], Some(49))),
        (
            "topologySpreadConstraints",
            List(&["topologyKey", "whenUnsatisfiable"], None),
        ),
        ("volumes", List(&["name"], Some(78))),
    ],
    // 66: api.core.v1.PodStatus
    &[("conditions", List(&["type"], None)), ("podIPs", List(&["ip"], None))],
    // 67: api.core.v1.PodTemplate
    &[("metadata", Type(122)), ("template", Type(68))],
    // 68: api.core.v1.PodTemplateSpec
    &[("metadata", Type(122)), ("spec", Type(65))],
    // 69: api.core.v1.ReplicationController
    &[("metadata", Type(122)), ("spec", Type(70)), ("status", Type(71))],
    // 70: api.core.v1.ReplicationControllerSpec
    &[("template", Type(68))],
    // 71: api.core.v1.ReplicationControllerStatus
    &[("conditions", List(&["type"], None))],
    // 72: api.core.v1.ResourceQuota
    &[("metadata", Type(122))],
    // 73: api.core.v1.Secret
    &[("metadata", Type(122))],
    // 74: api.core.v1.Service
    &[("metadata", Type(122)), ("spec", Type(76)), ("status", Type(77))],
    // 75: api.core.v1.ServiceAccount
    &[("metadata", Type(122)), ("secrets", List(&["name"], None))],
    // 76: api.core.v1.ServiceSpec
    &[("ports", List(&["port", "protocol"], None))],
    // 77: api.core.v1.ServiceStatus
    &[("conditions", List(&["type"], None))],
    // 78: api.core.v1.Volume
    &[("ephemeral", Type(52))],
    // 79: api.discovery.v1.EndpointSlice
    &[("metadata", Type(122))],
    // 80: api.discovery.v1beta1.EndpointSlice
    &[("metadata", Type(122))],
    // 81: api.events.v1.Event
    &[("metadata", Type(122))],
    // 82: api.events.v1beta1.Event
    &[("metadata", Type(122))],
    // 83: api.extensions.v1beta1.Ingress
    &[("metadata", Type(122))],
    // 84: api.flowcontrol.v1beta1.FlowSchema
    &[("metadata", Type(122))],
    // 85: api.flowcontrol.v1beta1.PriorityLevelConfiguration
    &[("metadata", Type(122))],
    // 86: api.networking.v1.Ingress
    &[("metadata", Type(122))],
    // 87: api.networking.v1.IngressClass
    &[("metadata", Type(122))],
    // 88: api.networking.v1.NetworkPolicy
    &[("metadata", Type(122))],
    // 89: api.networking.v1beta1.Ingress
    &[("metadata", Type(122))],
    // 90: api.networking.v1beta1.IngressClass
    &[("metadata", Type(122))],
    // 91: api.node.v1.RuntimeClass
    &[("metadata", Type(122))],
    // 92: api.node.v1beta1.RuntimeClass
    &[("metadata", Type(122))],
    // 93: api.policy.v1.PodDisruptionBudget
    &[("metadata", Type(122)), ("status", Type(94))],
    // 94: api.policy.v1.PodDisruptionBudgetStatus
    &[("conditions", List(&["type"], None))],
    // 95: api.policy.v1beta1.Eviction
    &[("metadata", Type(122))],
    // 96: api.policy.v1beta1.PodDisruptionBudget
    &[("metadata", Type(122)), ("status", Type(97))],
    // 97: api.policy.v1beta1.PodDisruptionBudgetStatus
    &[("conditions", List(&["type"], None))],
    // 98: api.policy.v1beta1.PodSecurityPolicy
    &[("metadata", Type(122))],
    // 99: api.rbac.v1.ClusterRole
    &[("metadata", Type(122))],
    // 100: api.rbac.v1.ClusterRoleBinding
    &[("metadata", Type(122))],
    // 101: api.rbac.v1.Role
    &[("metadata", Type(122))],
    // 102: api.rbac.v1.RoleBinding
    &[("metadata", Type(122))],
    // 103: api.rbac.v1beta1.ClusterRole
    &[("metadata", Type(122))],
    // 104: api.rbac.v1beta1.ClusterRoleBinding
    &[("metadata", Type(122))],
    // 105: api.rbac.v1beta1.Role
    &[("metadata", Type(122))],
    // 106: api.rbac.v1beta1.RoleBinding
    &[("metadata", Type(122))],
    // 107: api.scheduling.v1.PriorityClass
    &[("metadata", Type(122))],
    // 108: api.scheduling.v1beta1.PriorityClass
    &[("metadata", Type(122))],
    // 109: api.storage.v1.CSIDriver
    &[("metadata", Type(122))],
    // 110: api.storage.v1.CSINode
    &[("metadata", Type(122)), ("spec", Type(111))],
    // 111: api.storage.v1.CSINodeSpec
    &[("drivers", List(&["name"], None))],
    // 112: api.storage.v1.StorageClass
    &[("metadata", Type(122))],
    // 113: api.storage.v1.VolumeAttachment
    &[("metadata", Type(122))],
    // 114: api.storage.v1beta1.CSIDriver
    &[("metadata", Type(122))],
    // 115: api.storage.v1beta1.CSINode
    &[("metadata", Type(122)), ("spec", Type(116))],
    // 116: api.storage.v1beta1.CSINodeSpec
    &[("drivers", List(&["name"], None))],
    // 117: api.storage.v1beta1.CSIStorageCapacity
    &[("metadata", Type(122))],
    // 118: api.storage.v1beta1.StorageClass
    &[("metadata", Type(122))],
    // 119: api.storage.v1beta1.VolumeAttachment
    &[("metadata", Type(122))],
    // 120: apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition
    &[("metadata", Type(122))],
    // 121: apiextensions-apiserver.pkg.apis.apiextensions.v1beta1.CustomResourceDefinition
    &[("metadata", Type(122))],
    // 122: apimachinery.pkg.apis.meta.v1.ObjectMeta
    &[
        ("finalizers", List(&[], None)),
        ("ownerReferences", List(&["uid"], None)),
    ],
    // 123: kube-aggregator.pkg.apis.apiregistration.v1.APIService
    &[("metadata", Type(122)), ("status", Type(124))],
    // 124: kube-aggregator.pkg.apis.apiregistration.v1.APIServiceStatus
    &[("conditions", List(&["type"], None))],
    // 125: kube-aggregator.pkg.apis.apiregistration.v1beta1.APIService
    &[("metadata", Type(122)), ("status", Type(126))],
    // 126: kube-aggregator.pkg.apis.apiregistration.v1beta1.APIServiceStatus
    &[("conditions", List(&["type"], None))],
];
