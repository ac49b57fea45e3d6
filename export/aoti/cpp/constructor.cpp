namespace torch::aot_inductor {

AOTInductorModel::AOTInductorModel(
    std::shared_ptr<ConstantMap> constants_map,
    std::shared_ptr<std::vector<ConstantHandle>> constants_array,
    const std::string& device_str,
    std::optional<std::string> cubin_dir)
    : AOTInductorModelBase(
          package_table().num_inputs,
          package_table().num_outputs,
          package_table().num_constants,
          device_str,
          std::move(cubin_dir),
          package_table().include_weights) {
  const PackageTable& table = package_table();
  for (size_t i = 0; i < table.num_inputs; i++) {
    inputs_info_[i].name = table.inputs[i];
  }
  const int64_t* sizes = table.sizes;
  for (size_t i = 0; i < table.num_constants; i++) {
    const PackageConstant& given = table.constants[i];
    auto& info = constants_info_[i];
    info.name = given.name;
    info.dtype = given.dtype;
    info.device_type = given.device_type;
    info.offset = given.offset;
    info.data_size = given.data_size;
    info.from_folded = given.from_folded;
    info.type = given.type;
    info.shape.assign(sizes, sizes + given.rank);
    info.stride.assign(sizes + given.rank, sizes + 2 * given.rank);
    sizes += 2 * given.rank;
    info.layout = given.layout;
    info.original_fqn = given.original_fqn;
  }
  update_constants_map(std::move(constants_map));
  update_constants_array(std::move(constants_array));
  in_spec_ = table.in_spec;
  out_spec_ = table.out_spec;
  for (size_t i = 0; i < table.num_outputs; i++) {
    outputs_info_[i].name = table.outputs[i];
  }
  kernels_ = package_kernels();
}

}  // namespace torch::aot_inductor
