// Oracle prints what Talos's own machinery answers, so that the Rust crate `talos` can be compared with it.
//
//	oracle answers CASES BUNDLES             one JSON object a line: id, and out (bytes) or err (error text)
//	oracle goldens CASES BUNDLES OUT         the same as files: ID.out or ID.err
//	oracle bench BUNDLES SECONDS             nanoseconds of generating, and of generating, patching, validating, writing
//	oracle schema                            the fields of every machine config document, in order
//	oracle bundle CONTRACT                   a fresh secrets bundle
//
// A case is one JSON object; `format.go` has its keys. Schematics are answered by the module in schematic/, whose
// dependencies exclude these. Only results are used by the build; it runs where Go and the modules are at hand.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"go.yaml.in/yaml/v4"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "answers":
		out := bufio.NewWriter(os.Stdout)
		defer out.Flush() //nolint:errcheck

		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)

		return each(args[1], args[2], func(id string, answer []byte, err error) error {
			golden := map[string]string{"id": id}
			if err != nil {
				golden["err"] = err.Error()
			} else {
				golden["out"] = string(answer)
			}

			return encoder.Encode(golden)
		})
	case len(args) == 4 && args[0] == "goldens":
		return each(args[1], args[2], func(id string, answer []byte, err error) error {
			name := id + ".out"
			if err != nil {
				name, answer = id+".err", []byte(err.Error())
			}

			return os.WriteFile(filepath.Join(args[3], name), answer, 0o644)
		})
	case len(args) == 3 && args[0] == "bench":
		return bench(args[1], args[2])
	case len(args) == 1 && args[0] == "schema":
		return schema()
	case len(args) == 2 && args[0] == "bundle":
		contract, err := config.ParseContractFromVersion(args[1])
		if err != nil {
			return err
		}

		made, err := secrets.NewBundle(secrets.NewFixedClock(time.Unix(1767225600, 0)), contract)
		if err != nil {
			return err
		}

		out, err := yaml.Marshal(made)
		if err != nil {
			return err
		}

		_, err = os.Stdout.Write(out)

		return err
	}

	return fmt.Errorf("usage: oracle answers CASES BUNDLES | goldens CASES BUNDLES OUT | bench BUNDLES SECONDS | schema | bundle CONTRACT")
}

// each answers every case of a file in order. A line that is no case is an error of the program.
func each(cases, bundles string, take func(id string, answer []byte, err error) error) error {
	file, err := os.Open(cases)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck

	lines := bufio.NewReader(file)

	for {
		line, readErr := lines.ReadBytes('\n')
		if readErr != nil && readErr != io.EOF {
			return readErr
		}

		if len(bytes.TrimSpace(line)) > 0 {
			var c testCase

			decoder := json.NewDecoder(bytes.NewReader(line))
			decoder.DisallowUnknownFields()

			if err := decoder.Decode(&c); err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}

			if c.Op != "schematic" {
				answer, err := answer(c, bundles)
				if err := take(c.ID, answer, err); err != nil {
					return err
				}
			}
		}

		if readErr == io.EOF {
			return nil
		}
	}
}
