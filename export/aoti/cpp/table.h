// What a package's constructor sets, as data: of one package in the file of its program, read by constructor.cpp, which
// is compiled once for all of them. Both are linked into the same library, and hidden, since a process opens several.
namespace torch::aot_inductor {

struct PackageConstant {
  const char* name;
  int32_t dtype;
  int32_t device_type;
  int64_t offset;
  size_t data_size;
  bool from_folded;
  int32_t type;
  size_t rank;  // this many sizes and as many strides, behind those of the constants before, in `sizes`
  int32_t layout;
  const char* original_fqn;
};

struct PackageTable {
  size_t num_inputs;
  size_t num_outputs;
  size_t num_constants;
  bool include_weights;
  const char* const* inputs;
  const char* const* outputs;
  const PackageConstant* constants;
  const int64_t* sizes;
  const char* in_spec;
  const char* out_spec;
};

__attribute__((visibility("hidden"))) const PackageTable& package_table();
__attribute__((visibility("hidden"))) std::unique_ptr<AOTInductorModelKernelsBase> package_kernels();

}  // namespace torch::aot_inductor
