// The tables of CPG0004: every form, and every fault with its row and reason.
#include "train/data/cpg_tables.h"

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "tests/train/data/cpg_screen.h"
#include "tests/train/data/test_screen.h"
#include "train/data/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace mono {
namespace {

using test::cpg_row;
using test::kCpgHeader;
using test::small_cpg_table;
using test::TempDir;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// The first problem of the screen at `dir`.
std::string first_problem(const std::filesystem::path& dir) {
  try {
    open_dataset(dir);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    return e.what();
  }
  return "no error";
}

TEST(CpgTables, OwnTable) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", small_cpg_table());
  const Dataset d = open_dataset(dir.path());
  EXPECT_EQ(d.form, TableForm::cpg_metadata);
  EXPECT_EQ(d.layout, Layout::none);
  EXPECT_EQ(d.sites.size(), 50u);
  EXPECT_EQ(d.channels_on_disk, 5);
  EXPECT_THAT(d.experiments, testing::ElementsAre("P1", "P2", "P3", "P4", "P5"));
  EXPECT_THAT(d.cell_types, testing::ElementsAre("A549"));
  EXPECT_THAT(d.class_names, testing::ElementsAre("DMSO", "CPD-1@10", "CPD-2@10", "CPD-3@3.33"));
  EXPECT_EQ(d.num_classes, 4);
  EXPECT_THAT(d.compounds, testing::ElementsAre("CPD-1", "CPD-2", "CPD-3", "DMSO"));
  EXPECT_THAT(d.moas, testing::ElementsAre("channel", "kinase", "unknown"));
  EXPECT_THAT(d.plate_maps, testing::ElementsAre("MAP"));
  const Site& s = d.sites[2];
  EXPECT_EQ(s.site_id, "P1_1_B02_1");
  EXPECT_EQ(s.sirna, "CPD-1@10");
  EXPECT_EQ(s.sirna_id, 1);
  EXPECT_EQ(s.moa, 1);
  EXPECT_EQ(s.compound, 0);
  EXPECT_FLOAT_EQ(s.dose, 9.99999f);
  EXPECT_EQ(s.dose_level, 6);
  EXPECT_EQ(s.replicate, 1);
  EXPECT_EQ(s.plate_map, 0);
  EXPECT_EQ(s.row, 4);
  EXPECT_FALSE(s.is_control());
  EXPECT_EQ(d.file_of(s, 4), "P1/r02c02f01p01-ch5sk1fk1fl1.png");
  const Site& dmso = d.sites[0];
  EXPECT_EQ(dmso.well_type, WellType::negative_control);
  EXPECT_EQ(dmso.sirna_id, 0);
  EXPECT_EQ(dmso.moa, 2);
  for (const Site& site : d.sites) {
    EXPECT_EQ(site.in_test, site.replicate >= 4);
    EXPECT_EQ(site.in_validation, site.replicate == 4);
  }
}

struct BadTable {
  const char* name;
  std::string text;
  const char* message;
};

TEST(CpgTables, BadOwnTables) {
  const std::string good = small_cpg_table();  // DMSO of P1 in line 2, CPD-1 in line 4
  const std::string dmso = "P1_1_A01_1,P1,MAP,1,A01,1,DMSO,,\n";
  const std::string cpd = "P1_1_B02_1,P1,MAP,1,B02,1,CPD-1,9.99999,kinase\n";
  const auto instead = [&](const char* line) {
    return replaced(good, cpd, std::string(line) + "\n");
  };
  const auto with = [&](const std::string& row) { return good + row; };  // line 52
  const BadTable cases[] = {
      {"header only", kCpgHeader, "metadata.csv:1: holds no rows"},
      {"missing column", replaced(good, "replicate", "repeat"),
       "metadata.csv:1: column 'replicate' is missing; the table has: site_id, plate, plate_map"},
      {"short row", instead("P1,MAP"), "metadata.csv:4: has 2 fields, the header has 9"},
      {"plate", instead(",../P1,MAP,1,B02,1,CPD-1,10,kinase"),
       "metadata.csv:4: plate '../P1' is not a name"},
      {"plate map", instead(",P1,,1,B02,1,CPD-1,10,kinase"),
       "metadata.csv:4: plate map '' is not a name"},
      {"replicate 6", instead(",P1,MAP,6,B02,1,CPD-1,10,kinase"),
       "metadata.csv:4: replicate '6' of plate P1 is not a number from 1 to 5"},
      {"replicate word", instead(",P1,MAP,a,B02,1,CPD-1,10,kinase"),
       "metadata.csv:4: replicate 'a' of plate P1 is not a number"},
      {"well Q01", instead(",P1,MAP,1,Q01,1,CPD-1,10,kinase"),
       "metadata.csv:4: well 'Q01' is not on the plate (rows A to P, columns 01 to 24"},
      {"well A25", instead(",P1,MAP,1,A25,1,CPD-1,10,kinase"), "metadata.csv:4: well 'A25'"},
      {"site 10", instead(",P1,MAP,1,B02,10,CPD-1,10,kinase"),
       "metadata.csv:4: site '10' is not a number from 1 to 9"},
      {"site 0", instead(",P1,MAP,1,B02,0,CPD-1,10,kinase"), "metadata.csv:4: site '0'"},
      {"compound", instead(",P1,MAP,1,B02,1,CPD/1,10,kinase"),
       "metadata.csv:4: compound 'CPD/1' is not a name"},
      {"dose word", instead(",P1,MAP,1,B02,1,CPD-1,high,kinase"),
       "metadata.csv:4: dose 'high' is not a concentration in uM"},
      {"negative dose", instead(",P1,MAP,1,B02,1,CPD-1,-1,kinase"),
       "metadata.csv:4: dose '-1' is not a concentration"},
      {"infinite dose", instead(",P1,MAP,1,B02,1,CPD-1,inf,kinase"), "metadata.csv:4: dose 'inf'"},
      {"compound without dose", instead(",P1,MAP,1,B02,1,CPD-1,,kinase"),
       "metadata.csv:4: dose '' of compound 'CPD-1'; give its concentration"},
      {"DMSO with dose", instead(",P1,MAP,1,B02,1,DMSO,10,"),
       "metadata.csv:4: dose '10' of a DMSO well"},
      {"DMSO with moa", instead(",P1,MAP,1,B02,1,DMSO,,kinase"),
       "metadata.csv:4: moa 'kinase' of a DMSO well"},
      {"site_id", instead("P1_1_B02_2,P1,MAP,1,B02,1,CPD-1,10,kinase"),
       "metadata.csv:4: site_id 'P1_1_B02_2' contradicts plate, well and site, which make "
       "'P1_1_B02_1'"},
      {"two maps", with(",P1,OTHER,1,D01,1,DMSO,,\n"),
       "metadata.csv:52: plate map of P1 is 'OTHER', metadata.csv:2 says 'MAP'"},
      {"two replicates", with(cpg_row("P1", 2, "D01", 1, "DMSO", "", "")),
       "metadata.csv:52: replicate of P1 is 2, metadata.csv:2 says 1"},
      {"one replicate twice", with(cpg_row("P9", 1, "A01", 1, "DMSO", "", "")),
       "metadata.csv:52: plates P1 and P9 are both replicate 1 of MAP"},
      {"well with two treatments", with(cpg_row("P1", 1, "A01", 3, "CPD-1", "10", "kinase")),
       "metadata.csv:52: well A01 of MAP holds CPD-1@10, metadata.csv:2 says DMSO"},
      {"well with two doses", with(cpg_row("P1", 1, "B02", 3, "CPD-1", "20", "kinase")),
       "metadata.csv:52: well B02 of MAP holds CPD-1@20, metadata.csv:4 says CPD-1@10"},
      {"compound with two moas", with(cpg_row("P1", 1, "D01", 1, "CPD-1", "10", "channel")),
       "metadata.csv:52: moa of CPD-1 is 'channel', metadata.csv:4 says 'kinase'"},
      {"duplicate", with(dmso),
       "metadata.csv:52: site 'P1_1_A01_1' was already given by metadata.csv:2"},
  };
  for (const BadTable& c : cases) {
    SCOPED_TRACE(c.name);
    TempDir dir;
    test::write_text(dir / "metadata.csv", c.text);
    EXPECT_THAT(first_problem(dir.path()), testing::HasSubstr(c.message));
  }
}

const char* kIndexHeader =
    ",Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_broad_sample,Metadata_moa,"
    "Metadata_mmoles_per_liter,Treatment_Replicate,Plate_Map_Name\n";

TEST(CpgTables, IndexOfTheGallery) {
  for (const char* file : {"enriched_index.csv", "metadata/sub_index.csv"}) {
    TempDir dir;
    test::write_text(dir / file, std::string(kIndexHeader) +
                                     "0,SQ2,A01,1,DMSO,unknown,,1200,M1\n"
                                     "1,SQ2,A02,1,BRD-1,kinase,10.0,2,M1\n"
                                     "2,SQ2,A02,2,BRD-1,kinase,10.0,2.0,M1\n"
                                     "3,SQ2,A03,9,BRD-2,,1.1,3,M1\n");
    const Dataset d = open_dataset(dir.path());
    EXPECT_EQ(d.form, TableForm::cpg_index);
    ASSERT_EQ(d.sites.size(), 4u);
    for (const Site& s : d.sites) EXPECT_EQ(s.replicate, 2);
    EXPECT_EQ(d.sites[3].sirna, "BRD-2@1.11");
    EXPECT_EQ(d.moas[static_cast<size_t>(d.sites[3].moa)], "unknown");
  }
  TempDir dir;
  test::write_text(dir / "enriched_index.csv",
                   std::string(kIndexHeader) + "0,SQ2,A01,1,DMSO,unknown,,1200,M1\n");
  EXPECT_THAT(first_problem(dir.path()),
              testing::HasSubstr("enriched_index.csv:2: replicate '1200' of plate SQ2"));
  TempDir other;
  test::write_text(other / "sub_index.csv", "Metadata_Plate\n");
  EXPECT_THAT(first_problem(other.path()),
              testing::HasSubstr("sub_index.csv:1: column 'Plate_Map_Name' is missing"));
}

// A screen of two plates of one map, as lincs-cell-painting describes it.
void write_platemaps(const TempDir& dir) {
  test::write_text(dir / "barcode_platemap.csv",
                   "Assay_Plate_Barcode,Plate_Map_Name,Batch_Number\nSQ9,M1,1\nSQ3,M1,1\n");
  test::write_text(dir / "platemap/M1.txt",
                   "plate_map_name\twell_position\tbroad_sample\tmmoles_per_liter\tsolvent\n"
                   "M1\tA01\t\t\tDMSO\n"
                   "M1\tA02\tBRD-1\t9.99999\tDMSO\n");
  test::write_text(dir / "repurposing_info_external_moa_map_resolved.tsv",
                   "broad_sample\tmoa\nBRD-1\ta \"b\" c|d\n");
}

TEST(CpgTables, PlateMaps) {
  TempDir dir;
  write_platemaps(dir);
  Dataset d = open_dataset(dir.path());
  EXPECT_EQ(d.form, TableForm::cpg_platemaps);
  EXPECT_EQ(d.sites.size(), 2u * 2 * 9);
  EXPECT_THAT(d.experiments, testing::ElementsAre("SQ3", "SQ9"));
  EXPECT_THAT(d.moas, testing::ElementsAre("a \"b\" c|d", "unknown"));
  for (const Site& s : d.sites) EXPECT_EQ(s.replicate, s.experiment + 1);
  test::write_text(dir / "lincs_plates_final_batch_1.txt",
                   "SQ9__2016-05-23T20_44_31-Measurement1\n");
  d = open_dataset(dir.path());
  EXPECT_THAT(d.experiments, testing::ElementsAre("SQ9"));
  EXPECT_EQ(d.sites[0].replicate, 1);
}

TEST(CpgTables, BadPlateMaps) {
  struct Case {
    const char* file;
    std::string from, to;
    const char* message;
  };
  const char *plates = "barcode_platemap.csv", *map = "platemap/M1.txt",
             *moa = "repurposing_info_external_moa_map_resolved.tsv";
  const Case cases[] = {
      {plates, "SQ3,M1", "SQ9,M1", "barcode_platemap.csv:3: plate 'SQ9' is given twice"},
      {plates, "SQ9,M1", "SQ9,M2",
       "barcode_platemap.csv:2: plate map 'M2' has no table platemap/M2.txt"},
      {plates, "SQ9,M1", "SQ9,../x", "plate map '../x' has no table"},
      {plates, "SQ9", "S/9", "barcode_platemap.csv:2: plate 'S/9' is not a name"},
      {plates, "Plate_Map_Name", "Map",
       "barcode_platemap.csv:1: column 'Plate_Map_Name' is missing"},
      {plates, "SQ3,M1,1\n", "SQ3,M1,1\nA,M1,1\nB,M1,1\nC,M1,1\nD,M1,1\n",
       "replicate '6' of plate SQ9 is not a number from 1 to 5; a plate map has at most 5 plates"},
      {map, "M1\tA02", "M7\tA02", "platemap/M1.txt:3: plate_map_name 'M7' in the table of 'M1'"},
      {map, "\t\t\tDMSO", "\t\t\t", "platemap/M1.txt:2: well A01 has neither a broad_sample nor"},
      {map, "BRD-1", "BRD-2", "platemap/M1.txt:3: broad_sample 'BRD-2' has no row in repurposing"},
      {map, "9.99999", "", "platemap/M1.txt:3: dose '' of compound 'BRD-1'"},
      {map, "A02", "A1", "platemap/M1.txt:3: well 'A1' is not on the plate"},
      {map, "M1\tA02", "M1\tA01",
       "platemap/M1.txt:3: well A01 of M1 holds BRD-1@10, platemap/M1.txt:2 says DMSO"},
      {map, "solvent", "dissolved", "platemap/M1.txt:1: column 'solvent' is missing"},
      {moa, "BRD-1\ta \"b\" c|d\n", "BRD-1\ta\nBRD-1\tb\n",
       "moa_map_resolved.tsv:3: moa of 'BRD-1' is 'b', an earlier row says 'a'"},
      {moa, "broad_sample", "sample", "resolved.tsv:1: column 'broad_sample' is missing"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.message);
    TempDir dir;
    write_platemaps(dir);
    test::write_text(dir / c.file, replaced(test::read_text(dir / c.file), c.from, c.to));
    EXPECT_THAT(first_problem(dir.path()), testing::HasSubstr(c.message));
  }
  TempDir dir;
  write_platemaps(dir);
  std::filesystem::remove(dir / moa);
  EXPECT_THAT(first_problem(dir.path()),
              testing::HasSubstr("barcode_platemap.csv:1: needs repurposing_info_external"));
  test::write_text(dir / "lincs_plates_final_batch_1.txt", "SQ77\n");
  EXPECT_THAT(first_problem(dir.path()), testing::HasSubstr("plate 'SQ77' of lincs_plates_final"));
}

// Bytes changed at random: sites or an Error that says where, nothing else.
TEST(CpgTables, MutatedTablesAreReadOrRefused) {
  TempDir dir;
  write_platemaps(dir);
  const char* files[] = {"barcode_platemap.csv", "platemap/M1.txt",
                         "repurposing_info_external_moa_map_resolved.tsv"};
  int refused = 0;
  for (uint32_t i = 0; i < 150; ++i) {
    Philox random(1, Purpose::test, 2, i);
    const auto path = dir / files[i % 3];
    const std::string good = test::read_text(path);
    std::string bad = good;
    for (int k = 0; k < 2; ++k)
      bad[random.below(static_cast<uint32_t>(bad.size()))] = "\t\n\r\"\0,/.@0 "[random.below(11)];
    test::write_text(path, bad);
    try {
      EXPECT_FALSE(open_dataset(dir.path()).sites.empty());
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data) << e.what();
      ++refused;
    }
    test::write_text(path, good);
  }
  EXPECT_GT(refused, 50);
}

// The public tables: plates, replicates, doses.
TEST(CpgTables, LincsTables) {
  const auto lincs = test::cdcl_data("lincs"),
             plates = test::cdcl_data("derived/cpg0004_plates.csv");
  if (lincs.empty() || plates.empty()) GTEST_SKIP() << "../shared/data/cdcl is not at hand";
  TempDir dir;
  std::filesystem::create_symlink(lincs, dir / "metadata");
  const Dataset d = open_dataset(dir.path());
  EXPECT_EQ(d.form, TableForm::cpg_platemaps);
  EXPECT_EQ(d.sites.size(), 136u * 384 * 9);
  EXPECT_EQ(d.experiments.size(), 136u);
  EXPECT_EQ(d.plate_maps.size(), 28u);
  std::map<std::string, std::pair<std::string, int>> of_plate;
  std::map<std::string, int> dmso;
  for (const Site& s : d.sites) {
    const std::string& plate = d.experiments[static_cast<size_t>(s.experiment)];
    of_plate[plate] = {d.plate_maps[static_cast<size_t>(s.plate_map)], s.replicate};
    dmso[plate] += s.is_control() && s.site == 1;
  }
  for (const auto& [plate, count] : dmso) EXPECT_EQ(count, 24) << plate;
  const CsvTable reference = read_csv(plates, "cpg0004_plates.csv");
  ASSERT_EQ(reference.rows.size(), 136u);
  for (const CsvRow& r : reference.rows)
    EXPECT_EQ(of_plate.at(r.fields[1]), std::pair(r.fields[2], std::stoi(r.fields[6])))
        << r.fields[1];
}

}  // namespace
}  // namespace mono
