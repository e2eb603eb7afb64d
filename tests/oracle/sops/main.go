// The reference sops as a child process: one JSON question per line on stdin, one JSON answer per line on stdout.
//
// A question is a plain file and how to encrypt it; the answer is the encrypted file and what the reference decrypts it
// to. The first line of output is the age identity that opens all of them, made anew at every start.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	filippo "filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/decrypt"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/version"
)

type question struct {
	Format  string `json:"format"`
	Plain   []byte `json:"plain"`
	Rule    string `json:"rule"`
	Value   string `json:"value"`
	MacOnly bool   `json:"macOnly"`
	Groups  int    `json:"groups"`
}

type answer struct {
	Encrypted []byte `json:"encrypted,omitempty"`
	Decrypted []byte `json:"decrypted,omitempty"`
	Error     string `json:"error,omitempty"`
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	identity, err := filippo.GenerateX25519Identity()
	if err != nil {
		return err
	}
	if err := os.Setenv("SOPS_AGE_KEY", identity.String()); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(identity.String()); err != nil {
		return err
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		a, err := ask(q, identity.Recipient().String())
		if err != nil {
			a = answer{Encrypted: a.Encrypted, Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func ask(q question, recipient string) (a answer, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("panic: %v", caught)
		}
	}()
	store := common.StoreForFormat(formats.FormatFromString(q.Format), config.NewStoresConfig())
	branches, err := store.LoadPlainFile(q.Plain)
	if err != nil {
		return a, fmt.Errorf("loading: %w", err)
	}
	metadata := sops.Metadata{Version: version.Version, MACOnlyEncrypted: q.MacOnly, LastModified: time.Now().UTC()}
	switch q.Rule {
	case "unencrypted_suffix":
		metadata.UnencryptedSuffix = q.Value
	case "encrypted_suffix":
		metadata.EncryptedSuffix = q.Value
	case "unencrypted_regex":
		metadata.UnencryptedRegex = q.Value
	case "encrypted_regex":
		metadata.EncryptedRegex = q.Value
	case "unencrypted_comment_regex":
		metadata.UnencryptedCommentRegex = q.Value
	case "encrypted_comment_regex":
		metadata.EncryptedCommentRegex = q.Value
	}
	for range max(q.Groups, 1) {
		key, err := age.MasterKeyFromRecipient(recipient)
		if err != nil {
			return a, err
		}
		metadata.KeyGroups = append(metadata.KeyGroups, sops.KeyGroup{key})
	}
	if q.Groups > 1 {
		metadata.ShamirThreshold = q.Groups - 1
		if metadata.ShamirThreshold < 2 {
			metadata.ShamirThreshold = 2
		}
	}
	tree := sops.Tree{Branches: branches, Metadata: metadata}
	dataKey, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewLocalClient()})
	if len(errs) > 0 {
		return a, fmt.Errorf("making a data key: %v", errs)
	}
	if err := common.EncryptTree(common.EncryptTreeOpts{Tree: &tree, Cipher: aes.NewCipher(), DataKey: dataKey}); err != nil {
		return a, fmt.Errorf("encrypting: %w", err)
	}
	if a.Encrypted, err = store.EmitEncryptedFile(tree); err != nil {
		return a, fmt.Errorf("writing: %w", err)
	}
	if a.Decrypted, err = decrypt.DataWithFormat(a.Encrypted, formats.FormatFromString(q.Format)); err != nil {
		return a, fmt.Errorf("decrypting: %w", err)
	}
	return a, nil
}
