// Makes the envelopes beside it with the Notary Project's own library: `go run . ..`
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
)

const payload = `{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
	`"digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":4}}`

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func name(common string) pkix.Name {
	return pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"example"}, CommonName: common}
}

func main() {
	folder := os.Args[1]
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			panic(err)
		}
	}
	from, until := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2124, 1, 1, 0, 0, 0, 0, time.UTC)
	rootKey := must(rsa.GenerateKey(rand.Reader, 2048))
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: name("root"), NotBefore: from, NotAfter: until, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	root = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey))))
	write("root.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))

	keys := map[string]crypto.Signer{
		"rsa": must(rsa.GenerateKey(rand.Reader, 2048)),
		"ec":  must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
	}
	for kind, key := range keys {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: name("signer " + kind), NotBefore: from, NotAfter: until,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		}
		leaf = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), rootKey))))
		signer := must(signature.NewLocalSigner([]*x509.Certificate{leaf, root}, key))
		for suffix, media := range map[string]string{"jws": jws.MediaTypeEnvelope, "cose": cose.MediaTypeEnvelope} {
			sign := func(name string, expiry time.Time) {
				envelope := must(signature.NewEnvelope(media))
				write(name, must(envelope.Sign(&signature.SignRequest{
					Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: []byte(payload)},
					Signer:  signer, SigningTime: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), Expiry: expiry,
					SigningScheme: signature.SigningSchemeX509, SigningAgent: "make",
				})))
			}
			sign(kind+"."+suffix, time.Time{})
			sign(kind+"-expired."+suffix, time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC))
		}
	}
}
