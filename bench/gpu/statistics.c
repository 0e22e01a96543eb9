// A Vulkan layer that writes what a driver's compiler made of every compute pipeline: a JSON line each, into
// $PIPELINE_STATISTICS, by VK_KHR_pipeline_executable_properties (Vulkan specification, "Pipeline Executable Properties").
// Registers, instructions, memory that spilled: the names are the driver's own, and lines are in the order of compilation.
#define VK_NO_PROTOTYPES
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define EXTENSION "VK_KHR_pipeline_executable_properties"
#define FIND(device, name) ((PFN_##name)next_device(device, #name))

// Dawn opens one instance, and every device that it opens has the same driver below.
static PFN_vkGetInstanceProcAddr next_instance;
static PFN_vkGetDeviceProcAddr next_device;
static VkInstance instance;
static int tells;
static int pipelines;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/** The loader's entry in the chain that says which layer, or driver, is next. */
static void *link_of(const void *chain, VkStructureType type) {
  const VkLayerDeviceCreateInfo *entry = chain; // an instance's begins alike
  while (entry && !(entry->sType == type && entry->function == VK_LAYER_LINK_INFO)) entry = entry->pNext;
  return (void *)entry;
}

static VKAPI_ATTR VkResult VKAPI_CALL
create_instance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *memory, VkInstance *out) {
  VkLayerInstanceCreateInfo *link = link_of(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;
  next_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  VkResult result = ((PFN_vkCreateInstance)next_instance(NULL, "vkCreateInstance"))(info, memory, out);
  if (result == VK_SUCCESS) instance = *out;
  return result;
}

static int has_extension(VkPhysicalDevice adapter) {
  PFN_vkEnumerateDeviceExtensionProperties list =
      (void *)next_instance(instance, "vkEnumerateDeviceExtensionProperties");
  uint32_t count = 0;
  list(adapter, NULL, &count, NULL);
  VkExtensionProperties *all = calloc(count, sizeof *all);
  list(adapter, NULL, &count, all);
  int found = 0;
  for (uint32_t i = 0; i < count; i++) found |= !strcmp(all[i].extensionName, EXTENSION);
  free(all);
  return found;
}

/** Opens the device with the extension in addition to what Dawn asks for. */
static VKAPI_ATTR VkResult VKAPI_CALL create_device(
    VkPhysicalDevice adapter, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *memory, VkDevice *out) {
  VkLayerDeviceCreateInfo *link = link_of(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;
  PFN_vkGetInstanceProcAddr below = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  next_device = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;

  tells = has_extension(adapter);
  if (!tells) fprintf(stderr, "statistics: this driver tells none\n");
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR feature = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
      .pNext = (void *)info->pNext,
      .pipelineExecutableInfo = VK_TRUE,
  };
  VkDeviceCreateInfo wider = *info;
  const char **names = calloc(info->enabledExtensionCount + 1, sizeof *names);
  if (info->enabledExtensionCount > 0) {
    memcpy(names, info->ppEnabledExtensionNames, info->enabledExtensionCount * sizeof *names);
  }
  int asked = 0;
  for (uint32_t i = 0; i < info->enabledExtensionCount; i++) asked |= !strcmp(names[i], EXTENSION);
  if (tells && !asked) {
    names[wider.enabledExtensionCount++] = EXTENSION;
    wider.ppEnabledExtensionNames = names;
    wider.pNext = &feature;
  }
  VkResult result = ((PFN_vkCreateDevice)below(instance, "vkCreateDevice"))(adapter, &wider, memory, out);
  free(names);
  return result;
}

static void write_text(FILE *file, const char *text) {
  fputc('"', file);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', file);
    fputc((unsigned char)*text < 32 ? ' ' : *text, file);
  }
  fputc('"', file);
}

static void write_value(FILE *file, const VkPipelineExecutableStatisticKHR *statistic) {
  switch (statistic->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
      fputs(statistic->value.b32 ? "true" : "false", file);
      break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
      fprintf(file, "%lld", (long long)statistic->value.i64);
      break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
      fprintf(file, "%llu", (unsigned long long)statistic->value.u64);
      break;
    default:
      fprintf(file, "%g", statistic->value.f64);
  }
}

static void write_pipeline(VkDevice device, VkPipeline pipeline, const char *path) {
  VkPipelineInfoKHR which = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline};
  uint32_t count = 0;
  FIND(device, vkGetPipelineExecutablePropertiesKHR)(device, &which, &count, NULL);
  VkPipelineExecutablePropertiesKHR *parts = calloc(count, sizeof *parts);
  for (uint32_t i = 0; i < count; i++) parts[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
  FIND(device, vkGetPipelineExecutablePropertiesKHR)(device, &which, &count, parts);

  pthread_mutex_lock(&lock);
  FILE *file = fopen(path, "a");
  for (uint32_t i = 0; file && i < count; i++) {
    VkPipelineExecutableInfoKHR part = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline, .executableIndex = i};
    uint32_t known = 0;
    FIND(device, vkGetPipelineExecutableStatisticsKHR)(device, &part, &known, NULL);
    VkPipelineExecutableStatisticKHR *all = calloc(known, sizeof *all);
    for (uint32_t j = 0; j < known; j++) all[j].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    FIND(device, vkGetPipelineExecutableStatisticsKHR)(device, &part, &known, all);
    fprintf(file, "{\"pipeline\":%d,\"executable\":", pipelines);
    write_text(file, parts[i].name);
    fprintf(file, ",\"subgroup\":%u,\"statistics\":{", parts[i].subgroupSize);
    for (uint32_t j = 0; j < known; j++) {
      if (j > 0) fputc(',', file);
      write_text(file, all[j].name);
      fputc(':', file);
      write_value(file, &all[j]);
    }
    fputs("}}\n", file);
    free(all);
  }
  pipelines++;
  if (file) fclose(file);
  pthread_mutex_unlock(&lock);
  free(parts);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_pipelines(
    VkDevice device, VkPipelineCache cache, uint32_t count, const VkComputePipelineCreateInfo *infos,
    const VkAllocationCallbacks *memory, VkPipeline *out) {
  const char *path = getenv("PIPELINE_STATISTICS");
  VkComputePipelineCreateInfo *asked = calloc(count, sizeof *asked);
  memcpy(asked, infos, count * sizeof *asked);
  if (tells && path) {
    for (uint32_t i = 0; i < count; i++) asked[i].flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
  }
  VkResult result = FIND(device, vkCreateComputePipelines)(device, cache, count, asked, memory, out);
  free(asked);
  for (uint32_t i = 0; tells && path && result == VK_SUCCESS && i < count; i++) write_pipeline(device, out[i], path);
  return result;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL find_device(VkDevice device, const char *name) {
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)find_device;
  if (!strcmp(name, "vkCreateComputePipelines")) return (PFN_vkVoidFunction)create_pipelines;
  return next_device(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL find_instance(VkInstance of, const char *name) {
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (PFN_vkVoidFunction)find_instance;
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)find_device;
  if (!strcmp(name, "vkCreateInstance")) return (PFN_vkVoidFunction)create_instance;
  if (!strcmp(name, "vkCreateDevice")) return (PFN_vkVoidFunction)create_device;
  if (!strcmp(name, "vkCreateComputePipelines") && of) return (PFN_vkVoidFunction)create_pipelines;
  return next_instance ? next_instance(of, name) : NULL;
}

__attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *version) {
  version->loaderLayerInterfaceVersion = 2;
  version->pfnGetInstanceProcAddr = find_instance;
  version->pfnGetDeviceProcAddr = find_device;
  version->pfnGetPhysicalDeviceProcAddr = NULL;
  return VK_SUCCESS;
}
