package main

import (
	"bytes"
	"os"
	"path/filepath"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
)

func (r *release) billFile(arch string) string {
	return filepath.Join(r.out, "push-server-"+r.packageVersion+"-linux-"+arch+".cdx.json")
}

// bill writes the bill of materials: which modules the program is made of, as it says itself.
func (r *release) bill(arch string) error {
	generator, err := bin.NewGenerator(r.binary(arch), bin.WithIncludeStdlib(true), bin.WithVersionOverride(r.packageVersion), bin.WithLogger(zerolog.Nop()))
	if err != nil {
		return err
	}
	bom, err := generator.Generate()
	if err != nil {
		return err
	}
	if bom.Metadata != nil {
		bom.Metadata.Timestamp = r.date.Format("2006-01-02T15:04:05Z")
	}
	var text bytes.Buffer
	encoder := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true)
	if err := encoder.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return err
	}
	return os.WriteFile(r.billFile(arch), text.Bytes(), 0o644)
}
