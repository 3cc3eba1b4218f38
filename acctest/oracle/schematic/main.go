// Schematic prints what the Image Factory's own package makes of schematics: the cases of operation "schematic" only.
//
//	schematic CASES    one JSON object a line: id, and out ("# ID", then the canonical text) or err
//
// It is a module of its own: the package asks for a newer machinery than the one that the other answers come from.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/siderolabs/image-factory/pkg/schematic"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: schematic CASES")
	}

	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck

	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)

	lines := bufio.NewReader(file)

	for {
		line, readErr := lines.ReadString('\n')
		if readErr != nil && readErr != io.EOF {
			return readErr
		}

		if strings.TrimSpace(line) != "" {
			if err := take(line, out); err != nil {
				return err
			}
		}

		if readErr == io.EOF {
			return nil
		}
	}
}

func take(line string, out *json.Encoder) error {
	var c struct {
		ID   string `json:"id"`
		Op   string `json:"op"`
		Text string `json:"text"`
	}

	if err := json.Unmarshal([]byte(line), &c); err != nil {
		return err
	}

	if c.Op != "schematic" {
		return nil
	}

	golden := map[string]string{"id": c.ID}

	text, err := answer(c.Text)
	if err != nil {
		golden["err"] = err.Error()
	} else {
		golden["out"] = text
	}

	return out.Encode(golden)
}

func answer(text string) (string, error) {
	read, err := schematic.Unmarshal([]byte(text))
	if err != nil {
		return "", err
	}

	if err := read.Validate(false); err != nil {
		return "", err
	}

	id, err := read.ID()
	if err != nil {
		return "", err
	}

	canonical, err := read.Marshal()
	if err != nil {
		return "", err
	}

	return "# " + id + "\n" + string(canonical), nil
}
