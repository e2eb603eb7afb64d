//! Where Kubernetes lists are merged by key: facts from the OpenAPI description of Kubernetes 1.21.2,
//! the version that kustomize 5.8 carries. Only the types that lead to such a list are here.

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
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", 118),
    ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", 119),
    ("apiregistration.k8s.io/v1", "APIService", 121),
    ("apiregistration.k8s.io/v1beta1", "APIService", 123),
    ("apps/v1", "ControllerRevision", 4),
    ("apps/v1", "DaemonSet", 5),
    ("apps/v1", "Deployment", 8),
    ("apps/v1", "ReplicaSet", 11),
    ("apps/v1", "StatefulSet", 14),
    ("authentication.k8s.io/v1", "TokenRequest", 17),
    ("authentication.k8s.io/v1", "TokenReview", 18),
    ("authentication.k8s.io/v1beta1", "TokenReview", 19),
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview", 20),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview", 21),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview", 22),
    ("authorization.k8s.io/v1", "SubjectAccessReview", 23),
    ("authorization.k8s.io/v1beta1", "LocalSubjectAccessReview", 24),
    ("authorization.k8s.io/v1beta1", "SelfSubjectAccessReview", 25),
    ("authorization.k8s.io/v1beta1", "SelfSubjectRulesReview", 26),
    ("authorization.k8s.io/v1beta1", "SubjectAccessReview", 27),
    ("autoscaling/v1", "HorizontalPodAutoscaler", 28),
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler", 29),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler", 30),
    ("batch/v1", "CronJob", 31),
    ("batch/v1", "Job", 33),
    ("batch/v1beta1", "CronJob", 37),
    ("certificates.k8s.io/v1", "CertificateSigningRequest", 40),
    ("certificates.k8s.io/v1beta1", "CertificateSigningRequest", 41),
    ("coordination.k8s.io/v1", "Lease", 42),
    ("coordination.k8s.io/v1beta1", "Lease", 43),
    ("discovery.k8s.io/v1", "EndpointSlice", 77),
    ("discovery.k8s.io/v1beta1", "EndpointSlice", 78),
    ("events.k8s.io/v1", "Event", 79),
    ("events.k8s.io/v1beta1", "Event", 80),
    ("extensions/v1beta1", "Ingress", 81),
    ("flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema", 82),
    ("flowcontrol.apiserver.k8s.io/v1beta1", "PriorityLevelConfiguration", 83),
    ("networking.k8s.io/v1", "Ingress", 84),
    ("networking.k8s.io/v1", "IngressClass", 85),
    ("networking.k8s.io/v1", "NetworkPolicy", 86),
    ("networking.k8s.io/v1beta1", "Ingress", 87),
    ("networking.k8s.io/v1beta1", "IngressClass", 88),
    ("node.k8s.io/v1", "RuntimeClass", 89),
    ("node.k8s.io/v1beta1", "RuntimeClass", 90),
    ("policy/v1", "PodDisruptionBudget", 91),
    ("policy/v1beta1", "Eviction", 93),
    ("policy/v1beta1", "PodDisruptionBudget", 94),
    ("policy/v1beta1", "PodSecurityPolicy", 96),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", 97),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", 98),
    ("rbac.authorization.k8s.io/v1", "Role", 99),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", 100),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRole", 101),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding", 102),
    ("rbac.authorization.k8s.io/v1beta1", "Role", 103),
    ("rbac.authorization.k8s.io/v1beta1", "RoleBinding", 104),
    ("scheduling.k8s.io/v1", "PriorityClass", 105),
    ("scheduling.k8s.io/v1beta1", "PriorityClass", 106),
    ("storage.k8s.io/v1", "CSIDriver", 107),
    ("storage.k8s.io/v1", "CSINode", 108),
    ("storage.k8s.io/v1", "StorageClass", 110),
    ("storage.k8s.io/v1", "VolumeAttachment", 111),
    ("storage.k8s.io/v1beta1", "CSIDriver", 112),
    ("storage.k8s.io/v1beta1", "CSINode", 113),
    ("storage.k8s.io/v1beta1", "CSIStorageCapacity", 115),
    ("storage.k8s.io/v1beta1", "StorageClass", 116),
    ("storage.k8s.io/v1beta1", "VolumeAttachment", 117),
    ("v1", "Binding", 44),
    ("v1", "ComponentStatus", 45),
    ("v1", "ConfigMap", 46),
    ("v1", "Endpoints", 48),
    ("v1", "Event", 51),
    ("v1", "LimitRange", 52),
    ("v1", "Namespace", 53),
    ("v1", "Node", 55),
    ("v1", "PersistentVolume", 58),
    ("v1", "PersistentVolumeClaim", 59),
    ("v1", "Pod", 62),
    ("v1", "PodTemplate", 65),
    ("v1", "ReplicationController", 67),
    ("v1", "ResourceQuota", 70),
    ("v1", "Secret", 71),
    ("v1", "Service", 72),
    ("v1", "ServiceAccount", 73),
];

/// The fields of each type, sorted by name.
pub(super) static TYPES: &[&[(&str, Field)]] = &[
    // 0: api.admissionregistration.v1.MutatingWebhookConfiguration
    &[("metadata", Type(120)), ("webhooks", List(&["name"], None))],
    // 1: api.admissionregistration.v1.ValidatingWebhookConfiguration
    &[("metadata", Type(120)), ("webhooks", List(&["name"], None))],
    // 2: api.admissionregistration.v1beta1.MutatingWebhookConfiguration
    &[("metadata", Type(120)), ("webhooks", List(&["name"], None))],
    // 3: api.admissionregistration.v1beta1.ValidatingWebhookConfiguration
    &[("metadata", Type(120)), ("webhooks", List(&["name"], None))],
    // 4: api.apps.v1.ControllerRevision
    &[("metadata", Type(120))],
    // 5: api.apps.v1.DaemonSet
    &[("metadata", Type(120)), ("spec", Type(6)), ("status", Type(7))],
    // 6: api.apps.v1.DaemonSetSpec
    &[("template", Type(66))],
    // 7: api.apps.v1.DaemonSetStatus
    &[("conditions", List(&["type"], None))],
    // 8: api.apps.v1.Deployment
    &[("metadata", Type(120)), ("spec", Type(9)), ("status", Type(10))],
    // 9: api.apps.v1.DeploymentSpec
    &[("template", Type(66))],
    // 10: api.apps.v1.DeploymentStatus
    &[("conditions", List(&["type"], None))],
    // 11: api.apps.v1.ReplicaSet
    &[("metadata", Type(120)), ("spec", Type(12)), ("status", Type(13))],
    // 12: api.apps.v1.ReplicaSetSpec
    &[("template", Type(66))],
    // 13: api.apps.v1.ReplicaSetStatus
    &[("conditions", List(&["type"], None))],
    // 14: api.apps.v1.StatefulSet
    &[("metadata", Type(120)), ("spec", Type(15)), ("status", Type(16))],
    // 15: api.apps.v1.StatefulSetSpec
    &[("template", Type(66))],
    // 16: api.apps.v1.StatefulSetStatus
    &[("conditions", List(&["type"], None))],
    // 17: api.authentication.v1.TokenRequest
    &[("metadata", Type(120))],
    // 18: api.authentication.v1.TokenReview
    &[("metadata", Type(120))],
    // 19: api.authentication.v1beta1.TokenReview
    &[("metadata", Type(120))],
    // 20: api.authorization.v1.LocalSubjectAccessReview
    &[("metadata", Type(120))],
    // 21: api.authorization.v1.SelfSubjectAccessReview
    &[("metadata", Type(120))],
    // 22: api.authorization.v1.SelfSubjectRulesReview
    &[("metadata", Type(120))],
    // 23: api.authorization.v1.SubjectAccessReview
    &[("metadata", Type(120))],
    // 24: api.authorization.v1beta1.LocalSubjectAccessReview
    &[("metadata", Type(120))],
    // 25: api.authorization.v1beta1.SelfSubjectAccessReview
    &[("metadata", Type(120))],
    // 26: api.authorization.v1beta1.SelfSubjectRulesReview
    &[("metadata", Type(120))],
    // 27: api.authorization.v1beta1.SubjectAccessReview
    &[("metadata", Type(120))],
    // 28: api.autoscaling.v1.HorizontalPodAutoscaler
    &[("metadata", Type(120))],
    // 29: api.autoscaling.v2beta1.HorizontalPodAutoscaler
    &[("metadata", Type(120))],
    // 30: api.autoscaling.v2beta2.HorizontalPodAutoscaler
    &[("metadata", Type(120))],
    // 31: api.batch.v1.CronJob
    &[("metadata", Type(120)), ("spec", Type(32))],
    // 32: api.batch.v1.CronJobSpec
    &[("jobTemplate", Type(36))],
    // 33: api.batch.v1.Job
    &[("metadata", Type(120)), ("spec", Type(34)), ("status", Type(35))],
    // 34: api.batch.v1.JobSpec
    &[("template", Type(66))],
    // 35: api.batch.v1.JobStatus
    &[("conditions", List(&["type"], None))],
    // 36: api.batch.v1.JobTemplateSpec
    &[("metadata", Type(120)), ("spec", Type(34))],
    // 37: api.batch.v1beta1.CronJob
    &[("metadata", Type(120)), ("spec", Type(38))],
    // 38: api.batch.v1beta1.CronJobSpec
    &[("jobTemplate", Type(39))],
    // 39: api.batch.v1beta1.JobTemplateSpec
    &[("metadata", Type(120)), ("spec", Type(34))],
    // 40: api.certificates.v1.CertificateSigningRequest
    &[("metadata", Type(120))],
    // 41: api.certificates.v1beta1.CertificateSigningRequest
    &[("metadata", Type(120))],
    // 42: api.coordination.v1.Lease
    &[("metadata", Type(120))],
    // 43: api.coordination.v1beta1.Lease
    &[("metadata", Type(120))],
    // 44: api.core.v1.Binding
    &[("metadata", Type(120))],
    // 45: api.core.v1.ComponentStatus
    &[("conditions", List(&["type"], None)), ("metadata", Type(120))],
    // 46: api.core.v1.ConfigMap
    &[("metadata", Type(120))],
    // 47: api.core.v1.Container
    &[
        ("env", List(&["name"], None)),
        ("ports", List(&["containerPort", "protocol"], None)),
        ("volumeDevices", List(&["devicePath"], None)),
        ("volumeMounts", List(&["mountPath"], None)),
    ],
    // 48: api.core.v1.Endpoints
    &[("metadata", Type(120))],
    // 49: api.core.v1.EphemeralContainer
    &[
        ("env", List(&["name"], None)),
        ("volumeDevices", List(&["devicePath"], None)),
        ("volumeMounts", List(&["mountPath"], None)),
    ],
    // 50: api.core.v1.EphemeralVolumeSource
    &[("volumeClaimTemplate", Type(61))],
    // 51: api.core.v1.Event
    &[("metadata", Type(120))],
    // 52: api.core.v1.LimitRange
    &[("metadata", Type(120))],
    // 53: api.core.v1.Namespace
    &[("metadata", Type(120)), ("status", Type(54))],
    // 54: api.core.v1.NamespaceStatus
    &[("conditions", List(&["type"], None))],
    // 55: api.core.v1.Node
    &[("metadata", Type(120)), ("spec", Type(56)), ("status", Type(57))],
    // 56: api.core.v1.NodeSpec
    &[("podCIDRs", List(&[], None))],
    // 57: api.core.v1.NodeStatus
    &[
        ("addresses", List(&["type"], None)),
        ("conditions", List(&["type"], None)),
    ],
    // 58: api.core.v1.PersistentVolume
    &[("metadata", Type(120))],
    // 59: api.core.v1.PersistentVolumeClaim
    &[("metadata", Type(120)), ("status", Type(60))],
    // 60: api.core.v1.PersistentVolumeClaimStatus
    &[("conditions", List(&["type"], None))],
    // 61: api.core.v1.PersistentVolumeClaimTemplate
    &[("metadata", Type(120))],
    // 62: api.core.v1.Pod
    &[("metadata", Type(120)), ("spec", Type(63)), ("status", Type(64))],
    // 63: api.core.v1.PodSpec
    &[
        ("containers", List(&["name"], Some(47))),
        ("ephemeralContainers", List(&["name"], Some(49))),
        ("hostAliases", List(&["ip"], None)),
        ("imagePullSecrets", List(&["name"], None)),
        ("initContainers", List(&["name"], Some(47))),
        (
            "topologySpreadConstraints",
            List(&["topologyKey", "whenUnsatisfiable"], None),
        ),
        ("volumes", List(&["name"], Some(76))),
    ],
    // 64: api.core.v1.PodStatus
    &[("conditions", List(&["type"], None)), ("podIPs", List(&["ip"], None))],
    // 65: api.core.v1.PodTemplate
    &[("metadata", Type(120)), ("template", Type(66))],
    // 66: api.core.v1.PodTemplateSpec
    &[("metadata", Type(120)), ("spec", Type(63))],
    // 67: api.core.v1.ReplicationController
    &[("metadata", Type(120)), ("spec", Type(68)), ("status", Type(69))],
    // 68: api.core.v1.ReplicationControllerSpec
    &[("template", Type(66))],
    // 69: api.core.v1.ReplicationControllerStatus
    &[("conditions", List(&["type"], None))],
    // 70: api.core.v1.ResourceQuota
    &[("metadata", Type(120))],
    // 71: api.core.v1.Secret
    &[("metadata", Type(120))],
    // 72: api.core.v1.Service
    &[("metadata", Type(120)), ("spec", Type(74)), ("status", Type(75))],
    // 73: api.core.v1.ServiceAccount
    &[("metadata", Type(120)), ("secrets", List(&["name"], None))],
    // 74: api.core.v1.ServiceSpec
    &[("ports", List(&["port", "protocol"], None))],
    // 75: api.core.v1.ServiceStatus
    &[("conditions", List(&["type"], None))],
    // 76: api.core.v1.Volume
    &[("ephemeral", Type(50))],
    // 77: api.discovery.v1.EndpointSlice
    &[("metadata", Type(120))],
    // 78: api.discovery.v1beta1.EndpointSlice
    &[("metadata", Type(120))],
    // 79: api.events.v1.Event
    &[("metadata", Type(120))],
    // 80: api.events.v1beta1.Event
    &[("metadata", Type(120))],
    // 81: api.extensions.v1beta1.Ingress
    &[("metadata", Type(120))],
    // 82: api.flowcontrol.v1beta1.FlowSchema
    &[("metadata", Type(120))],
    // 83: api.flowcontrol.v1beta1.PriorityLevelConfiguration
    &[("metadata", Type(120))],
    // 84: api.networking.v1.Ingress
    &[("metadata", Type(120))],
    // 85: api.networking.v1.IngressClass
    &[("metadata", Type(120))],
    // 86: api.networking.v1.NetworkPolicy
    &[("metadata", Type(120))],
    // 87: api.networking.v1beta1.Ingress
    &[("metadata", Type(120))],
    // 88: api.networking.v1beta1.IngressClass
    &[("metadata", Type(120))],
    // 89: api.node.v1.RuntimeClass
    &[("metadata", Type(120))],
    // 90: api.node.v1beta1.RuntimeClass
    &[("metadata", Type(120))],
    // 91: api.policy.v1.PodDisruptionBudget
    &[("metadata", Type(120)), ("status", Type(92))],
    // 92: api.policy.v1.PodDisruptionBudgetStatus
    &[("conditions", List(&["type"], None))],
    // 93: api.policy.v1beta1.Eviction
    &[("metadata", Type(120))],
    // 94: api.policy.v1beta1.PodDisruptionBudget
    &[("metadata", Type(120)), ("status", Type(95))],
    // 95: api.policy.v1beta1.PodDisruptionBudgetStatus
    &[("conditions", List(&["type"], None))],
    // 96: api.policy.v1beta1.PodSecurityPolicy
    &[("metadata", Type(120))],
    // 97: api.rbac.v1.ClusterRole
    &[("metadata", Type(120))],
    // 98: api.rbac.v1.ClusterRoleBinding
    &[("metadata", Type(120))],
    // 99: api.rbac.v1.Role
    &[("metadata", Type(120))],
    // 100: api.rbac.v1.RoleBinding
    &[("metadata", Type(120))],
    // 101: api.rbac.v1beta1.ClusterRole
    &[("metadata", Type(120))],
    // 102: api.rbac.v1beta1.ClusterRoleBinding
    &[("metadata", Type(120))],
    // 103: api.rbac.v1beta1.Role
    &[("metadata", Type(120))],
    // 104: api.rbac.v1beta1.RoleBinding
    &[("metadata", Type(120))],
    // 105: api.scheduling.v1.PriorityClass
    &[("metadata", Type(120))],
    // 106: api.scheduling.v1beta1.PriorityClass
    &[("metadata", Type(120))],
    // 107: api.storage.v1.CSIDriver
    &[("metadata", Type(120))],
    // 108: api.storage.v1.CSINode
    &[("metadata", Type(120)), ("spec", Type(109))],
    // 109: api.storage.v1.CSINodeSpec
    &[("drivers", List(&["name"], None))],
    // 110: api.storage.v1.StorageClass
    &[("metadata", Type(120))],
    // 111: api.storage.v1.VolumeAttachment
    &[("metadata", Type(120))],
    // 112: api.storage.v1beta1.CSIDriver
    &[("metadata", Type(120))],
    // 113: api.storage.v1beta1.CSINode
    &[("metadata", Type(120)), ("spec", Type(114))],
    // 114: api.storage.v1beta1.CSINodeSpec
    &[("drivers", List(&["name"], None))],
    // 115: api.storage.v1beta1.CSIStorageCapacity
    &[("metadata", Type(120))],
    // 116: api.storage.v1beta1.StorageClass
    &[("metadata", Type(120))],
    // 117: api.storage.v1beta1.VolumeAttachment
    &[("metadata", Type(120))],
    // 118: apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition
    &[("metadata", Type(120))],
    // 119: apiextensions-apiserver.pkg.apis.apiextensions.v1beta1.CustomResourceDefinition
    &[("metadata", Type(120))],
    // 120: apimachinery.pkg.apis.meta.v1.ObjectMeta
    &[
        ("finalizers", List(&[], None)),
        ("ownerReferences", List(&["uid"], None)),
    ],
    // 121: kube-aggregator.pkg.apis.apiregistration.v1.APIService
    &[("metadata", Type(120)), ("status", Type(122))],
    // 122: kube-aggregator.pkg.apis.apiregistration.v1.APIServiceStatus
    &[("conditions", List(&["type"], None))],
    // 123: kube-aggregator.pkg.apis.apiregistration.v1beta1.APIService
    &[("metadata", Type(120)), ("status", Type(124))],
    // 124: kube-aggregator.pkg.apis.apiregistration.v1beta1.APIServiceStatus
    &[("conditions", List(&["type"], None))],
];
