package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// files are the certificates, keys, kubeconfigs and configuration of one plane.
type files struct{ dir string }

func (f files) path(name string) string       { return filepath.Join(f.dir, name) }
func (f files) kubeconfig(user string) string { return f.path(user + ".kubeconfig") }

// The components have names of their own, so that an audit log tells them from the test, and belong to
// system:masters, so that they need no role to be there before they start.
var users = map[string]string{
	"admin":              "bed-admin",
	"controller-manager": "system:kube-controller-manager",
	"scheduler":          "system:kube-scheduler",
	"kwok":               "system:kwok",
}

// Everything a test asks is recorded once, when it is answered (watches: also when they begin). Bodies are left out.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// The same with the bodies of writes, for a benchmark that sends them again. Secrets stay out of it.
const auditPolicyWithBodies = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  resources: [{group: "", resources: [secrets, serviceaccounts/token]}]
- level: Request
  verbs: [create, update, patch, delete]
- level: Metadata
`

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem         []byte
}

// writeFiles makes a new certificate authority and all that is signed by it. Certificates last a day.
func writeFiles(dir, name, url string) (files, error) {
	f := files{filepath.Join(dir, "pki")}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return f, fmt.Errorf("creating the certificate folder: %w", err)
	}
	ca, caKey, err := newAuthority(name)
	if err != nil {
		return f, err
	}
	contents := map[string][]byte{"ca.crt": ca.pem, "ca.key": caKey, "audit-policy.yaml": []byte(auditPolicy),
		"audit-policy-with-bodies.yaml": []byte(auditPolicyWithBodies)}

	for _, issue := range []struct {
		file     string
		template x509.Certificate
	}{
		{"apiserver", x509.Certificate{
			Subject:     pkix.Name{CommonName: "kube-apiserver"},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 96, 0, 1)},
			DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local"},
		}},
		{"front-proxy", x509.Certificate{
			Subject:     pkix.Name{CommonName: "front-proxy-client"},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}},
	} {
		certificate, key, err := ca.issue(issue.template)
		if err != nil {
			return f, err
		}
		contents[issue.file+".crt"], contents[issue.file+".key"] = certificate, key
	}

	_, signingKey, err := newKey()
	if err != nil {
		return f, err
	}
	contents["service-account.key"] = signingKey

	for user, commonName := range users {
		certificate, key, err := ca.issue(x509.Certificate{
			Subject:     pkix.Name{CommonName: commonName, Organization: []string{"system:masters"}},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			return f, err
		}
		config := api.NewConfig()
		config.Clusters[name] = &api.Cluster{Server: url, CertificateAuthorityData: ca.pem}
		config.AuthInfos[commonName] = &api.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key}
		config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: commonName}
		config.CurrentContext = name
		content, err := clientcmd.Write(*config)
		if err != nil {
			return f, fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
		}
		contents[user+".kubeconfig"] = content
	}

	for file, content := range contents {
		if err := os.WriteFile(f.path(file), content, 0o600); err != nil {
			return f, fmt.Errorf("writing %s: %w", file, err)
		}
	}
	return f, nil
}

func newAuthority(name string) (*authority, []byte, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	template := x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name + "-ca"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the certificate authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the certificate authority back: %w", err)
	}
	return &authority{certificate, key, encode("CERTIFICATE", der)}, keyPEM, nil
}

func (a *authority) issue(template x509.Certificate) (certificate, key []byte, err error) {
	signer, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62)); err != nil {
		return nil, nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	template.NotBefore, template.NotAfter = a.certificate.NotBefore, a.certificate.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, &template, a.certificate, signer.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return encode("CERTIFICATE", der), keyPEM, nil
}

func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a key: %w", err)
	}
	return key, encode("EC PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
